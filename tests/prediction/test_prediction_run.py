"""opsnet-predict: the files it writes, any vocabulary, unusual images, and input that it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from opsnet.checkpoint.loading import load_checkpoint
from opsnet.commands.predict import main
from opsnet.data.images import read_rgb
from opsnet.evaluation.score import score
from opsnet.inference.config import InferenceConfig
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction.images import to_batch
from opsnet.prediction.opening import chosen_filter
from opsnet.prediction.predictor import Predictor
from opsnet.prediction.run import predict
from opsnet.utils.errors import CheckpointError, InputError
from opsnet.vocabulary.vocabulary import VocabularyError

WORDS = "red circle, green stripes, blue square"


@pytest.fixture(scope="module")
def image_path(tmp_path_factory) -> Path:
    """37 pixels wide and 53 high: no multiple of any stride."""
    path = tmp_path_factory.mktemp("image") / "photo.of mine.png"
    pixels = np.random.default_rng(0).integers(0, 255, (53, 37, 3), dtype=np.uint8)
    pixels[10:30, 5:25] = (220, 30, 30)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def trained_model(lenient_checkpoint):
    return load_checkpoint(lenient_checkpoint, device="cpu")


@pytest.fixture
def config(compose, lenient_checkpoint, image_path, tmp_path, monkeypatch, trained_model):
    """Overrides -> a configuration; the checkpoint is read once for all tests."""

    def make(*overrides: str, load: bool = False):
        if not load:
            monkeypatch.setattr("opsnet.prediction.opening.load", lambda *_, **__: Predictor(trained_model))
        given = [f"checkpoint={lenient_checkpoint}", f"image='{image_path}'", f"vocabulary='{WORDS}'", "device=cpu"]
        given += [f"output={tmp_path / 'out'}", "overwrite=true", "filtering.threshold=0"]
        return compose("predict", *given, *overrides)

    return make


def ids_of(path: Path) -> np.ndarray:
    red, green, blue = np.moveaxis(np.asarray(Image.open(path).convert("RGB"), dtype=np.int64), -1, 0)
    return red + 256 * green + 256**2 * blue


# --- the files --------------------------------------------------------------------------------------------------------


def test_the_files_agree_with_the_map_and_with_one_another(config, image_path, tmp_path) -> None:
    answer = predict(config(load=True)).last
    out = tmp_path / "out"
    written = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    assert written == {"photo.of mine_overlay.png", "panoptic/photo.of mine.png", "panoptic.json", "segments.csv"}
    assert answer.ids.shape == (53, 37)
    assert len(answer.segments) > 0
    data = json.loads((out / "panoptic.json").read_text())
    assert [c["name"] for c in data["categories"]] == ["red circle", "green stripes", "blue square"]
    assert data["images"] == [{"id": 0, "file_name": image_path.name, "height": 53, "width": 37}]
    annotation = data["annotations"][0]
    ids = ids_of(out / "panoptic" / annotation["file_name"])
    assert np.array_equal(ids, answer.ids.numpy())
    assert set(np.unique(ids)) - {0} == {s["id"] for s in annotation["segments_info"]}
    categories = {c["id"]: c for c in data["categories"]}
    for segment in annotation["segments_info"]:
        mask = ids == segment["id"]
        assert segment["area"] == mask.sum()
        left, top, width, height = segment["bbox"]
        assert mask[top : top + height, left : left + width].sum() == mask.sum()
        assert mask[top].any() and mask[top + height - 1].any()
        assert mask[:, left].any() and mask[:, left + width - 1].any()
        assert segment["isthing"] == categories[segment["category_id"]]["isthing"]
        assert 0 <= segment["score"] <= 1
        assert 0 <= segment["predicted_iou"] <= 1
    with Image.open(out / "photo.of mine_overlay.png") as overlay:
        assert overlay.mode == "RGB"
        assert overlay.size[0] >= 37
        assert overlay.size[1] >= 53


def test_score_reads_the_files(config, tmp_path) -> None:
    answer = predict(config()).last
    found = score(tmp_path / "out" / "panoptic.json", tmp_path / "out" / "panoptic.json")
    assert found.result.as_dict()["PQ"] == 100
    assert sum(q.tp for q in found.result.per_class) == len(answer.segments)


def test_an_image_without_segments_is_written_too(config, tmp_path) -> None:
    answer = predict(config("filtering.threshold=1")).last
    assert answer.segments == ()
    data = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert data["annotations"][0]["segments_info"] == []
    assert not ids_of(tmp_path / "out" / "panoptic" / "photo.of mine.png").any()


# --- vocabularies -----------------------------------------------------------------------------------------------------


def names(out: Path) -> list[str]:
    return [c["name"] for c in json.loads((out / "panoptic.json").read_text())["categories"]]


def test_a_text_file(config, tmp_path) -> None:
    (tmp_path / "words.txt").write_text("# mine\npink flower\n\nsea\n", encoding="utf-8")
    predict(config(f"vocabulary={tmp_path / 'words.txt'}"))
    assert names(tmp_path / "out") == ["pink flower", "sea"]


def test_a_json_file_keeps_ids_and_kinds(config, tmp_path) -> None:
    categories = [{"id": 7, "name": "flower", "isthing": 1}, {"id": 3, "name": "sea", "isthing": 0}]
    (tmp_path / "words.json").write_text(json.dumps({"categories": categories}))
    predict(config(f"vocabulary={tmp_path / 'words.json'}"))
    data = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert data["categories"] == categories
    assert {s["category_id"] for s in data["annotations"][0]["segments_info"]} <= {3, 7}


def test_a_packaged_vocabulary_and_a_single_name(config, tmp_path) -> None:
    predict(config("vocabulary=scenes_novel"))
    assert len(names(tmp_path / "out")) == 24
    predict(config("vocabulary=flower"))
    assert names(tmp_path / "out") == ["flower"]


def test_a_hydra_list(config, tmp_path) -> None:
    predict(config("vocabulary=[pink flower,sea]"))
    assert names(tmp_path / "out") == ["pink flower", "sea"]


# --- images -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA", "1", "CMYK"])
def test_any_colour_mode(mode, config, image_path, tmp_path) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    with Image.open(image_path) as image:
        image.convert(mode).save(path)
    assert predict(config(f"image={path}")).last.ids.shape == (53, 37)


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (33, 65), (200, 7)])
def test_any_size(size, config, tmp_path) -> None:
    Image.new("RGB", size, (200, 30, 30)).save(tmp_path / "a.png")
    assert predict(config(f"image={tmp_path / 'a.png'}")).last.ids.shape == size[::-1]


def test_a_photo_is_rotated_by_its_exif_orientation(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    image = Image.new("RGB", (40, 20))
    image.paste((255, 0, 0), (0, 0, 10, 20))  # its left becomes the top
    image.save(tmp_path / "a.png", exif=exif)
    pixels = read_rgb(tmp_path / "a.png")
    assert pixels.shape == (40, 20, 3)
    assert (pixels[:10, :, 0] == 255).all()
    assert (pixels[10:] == 0).all()


def test_sixteen_bit_greyscale_is_scaled_not_clipped(tmp_path) -> None:
    levels = np.array([[0, 257, 257 * 128, 65_535]], np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    pixels = read_rgb(tmp_path / "a.png")
    assert pixels.shape == (1, 4, 3)
    assert pixels[0, :, 1].tolist() == [0, 1, 128, 255]


def test_padding_is_black_at_the_right_and_bottom() -> None:
    pixels = np.full((33, 64, 3), 255, np.uint8)
    pixels[..., 1] = 51
    batch = to_batch([pixels])
    assert batch.images.shape == (1, 3, 64, 64)
    assert batch.valid_sizes == [(33, 64)]
    assert torch.equal(batch.images[0, :, 32, 63], torch.tensor([1.0, 51 / 255, 1.0]))
    assert not batch.images[0, :, 33:].any()


# --- input that it refuses --------------------------------------------------------------------------------------------


def test_a_missing_image(config, tmp_path) -> None:
    with pytest.raises(InputError, match=rf"image {tmp_path / 'no.png'} does not exist: give image=PATH"):
        predict(config(f"image={tmp_path / 'no.png'}"))
    assert not (tmp_path / "out").exists()


def test_a_text_file_named_png(config, tmp_path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(InputError, match=r"text\.png cannot be read as an image"):
        predict(config(f"image={tmp_path / 'text.png'}"))


def test_a_truncated_image(config, image_path, tmp_path) -> None:
    (tmp_path / "half.png").write_bytes(image_path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"half\.png cannot be read as an image"):
        predict(config(f"image={tmp_path / 'half.png'}"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("''", "empty: give at least one name"),
        ("', ,'", "empty: give at least one name"),
        ("'sea, tree, Sea'", "the name 'sea' twice"),
        ("no.txt", r"no\.txt does not exist"),
        ("no.json", r"no\.json does not exist"),
    ],
)
def test_invalid_vocabularies(words, message, config, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VocabularyError, match=message):
        predict(config(f"vocabulary={words}"))
    assert not (tmp_path / "out").exists()


def test_a_missing_checkpoint(config, tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"no\.ckpt does not exist: give checkpoint=PATH"):
        predict(config(f"checkpoint={tmp_path / 'no.ckpt'}", load=True))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task=depth", "task must be one of panoptic, semantic, instance, got 'depth'"),
        ("semantic=proposals", "semantic=proposals is for task=semantic, got task=panoptic: give task=semantic too"),
        ("semantic=x task=semantic", "semantic must be panoptic or proposals, got x"),
        ("semantic=proposals task=semantic unknown=0.1", "has no unknown segments and no tree of names"),
        ("top_k=0", "top_k must be at least 1, got 0"),
        ("batch_size=0", "batch_size must be at least 1"),
        ("longest=0", "longest must be at least 1"),
        ("unknown=0", r"unknown must be a margin in \(0, 1\]"),
        ("path_margin=2", r"path_margin must lie in 0\.\.1"),
    ],
)
def test_options_out_of_range(override, message, config, tmp_path) -> None:
    with pytest.raises(InputError, match=message):
        predict(config(*override.split()))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], {"kind": "cls_iou", "threshold": 0.25}),
        (["filtering.threshold=0.5"], {"kind": "cls_iou", "threshold": 0.5}),
        (["filtering.compete=cls"], {"kind": "cls_iou", "threshold": 0.25, "compete": "cls"}),
        (["filtering=cls"], {"kind": "cls", "threshold": 0.4}),  # from the checkpoint's world
        (["filtering=cls", "filtering.threshold=0.3"], {"kind": "cls", "threshold": 0.3}),
        (["filtering=fcclip"], {"kind": "cls", "threshold": 0.0}),
    ],
)
def test_the_filter_is_the_checkpoints_unless_another_is_chosen(overrides, expected, compose) -> None:
    rules = InferenceConfig({"kind": "cls_iou", "threshold": 0.25}, {"cls": {"threshold": 0.4}})
    cfg = compose("predict", "checkpoint=a", "image=b", "vocabulary=c", *overrides)
    assert chosen_filter(cfg.filtering, rules).settings() == MaskFiltering(**expected).settings()


# --- folders ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(image_path, tmp_path) -> Path:
    """Three images of two sizes, a text file named .png between them, and a note."""
    path = tmp_path / "images"
    path.mkdir()
    with Image.open(image_path) as image:
        image.save(path / "a.png")
        image.save(path / "c.jpg", quality=95)
        image.crop((0, 0, 30, 40)).resize((90, 40)).save(path / "d.png")
    (path / "b.png").write_text("not an image")
    (path / "note.txt").write_text("not the name of an image")
    return path


def test_a_bad_image_is_reported_and_the_others_are_predicted(config, folder, tmp_path, capsys) -> None:
    outcome = predict(config(f"image={folder}", "batch_size=2", "top_k=2"))
    assert outcome.done == 3
    assert len(outcome.failed) == 1
    assert "b.png cannot be read as an image" in outcome.failed[0]
    assert "skipped: " in capsys.readouterr().err
    data = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert [i["file_name"] for i in data["images"]] == ["a.png", "c.jpg", "d.png"]
    assert {p.name for p in (tmp_path / "out" / "panoptic").iterdir()} == {"a.png", "c.png", "d.png"}
    assert all(len(s["names"]) == 2 for a in data["annotations"] for s in a["segments_info"])


def test_an_image_in_a_folder_has_the_same_map_as_alone(config, folder, tmp_path) -> None:
    predict(config(f"image={folder}"))
    together = ids_of(tmp_path / "out" / "panoptic" / "c.png")
    assert np.array_equal(together, predict(config(f"image={folder / 'c.jpg'}")).last.ids.numpy())


def test_the_exit_code_is_1_if_images_are_skipped(config, command, folder, lenient_checkpoint, tmp_path) -> None:
    config()  # the checkpoint is read once for all tests
    given = [f"checkpoint={lenient_checkpoint}", f"vocabulary={WORDS}", f"hydra.run.dir={tmp_path / 'run'}"]
    assert command(main, *given, f"image={folder}")[0] == 1
    assert command(main, *given, f"image={folder}/[acd].*")[0] == 2  # the first results are not replaced silently
    assert command(main, *given, f"image={folder}/[acd].*", "overwrite=true")[0] == 0


def test_a_video_gives_files_per_frame(config, clip, tmp_path, capsys) -> None:
    outcome = predict(config(f"image='{clip}'", "batch_size=3"))
    assert (outcome.done, outcome.failed) == (4, [])
    assert "4 of 4 images" in capsys.readouterr().out
    frames = [f"my clip_{i:06d}" for i in range(4)]
    assert {p.stem for p in (tmp_path / "out" / "panoptic").iterdir()} == set(frames)
    data = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert [(image["id"], image["file_name"]) for image in data["images"]] == [
        (i, f"{name}.png") for i, name in enumerate(frames)
    ]
    for key in ("masks", "ids_from"):
        with pytest.raises(
            InputError, match=rf"{key} finds images by their names, and .*my clip\.mp4 has images without"
        ):
            predict(config(f"image='{clip}'", f"{key}=a.json"))


def test_an_image_from_an_address(config, command, server, lenient_checkpoint, tmp_path) -> None:
    config()  # the checkpoint is read once for all tests
    out = tmp_path / "run"
    given = [f"checkpoint={lenient_checkpoint}", f"vocabulary={WORDS}", f"hydra.run.dir={out}", "overwrite=true"]
    assert command(main, *given, f"image={server}/some/photo%20one.png?size=3&b=/x")[0] == 0
    assert (out / "photo one_overlay.png").is_file()
    listed = {"images": [{"id": 41, "file_name": "photo one.png"}]}
    (tmp_path / "gt.json").write_text(json.dumps(listed))
    address = f"image={server}/some/photo%20one.png"
    assert command(main, *given, address, f"ids_from={tmp_path / 'gt.json'}")[0] == 0
    assert json.loads((out / "panoptic.json").read_text())["images"][0]["id"] == 41
    code, error = command(main, *given, f"image={server}/missing.png")
    assert code == 2
    assert f"image {server}/missing.png cannot be downloaded (HTTP 404 Not Found)" in error


@pytest.mark.parametrize(("task", "name"), [("semantic", "semantic.json"), ("instance", "instances.json")])
def test_other_tasks(task, name, config, tmp_path) -> None:
    predict(config(f"task={task}"))
    assert (tmp_path / "out" / name).is_file()
    assert not (tmp_path / "out" / "panoptic.json").exists()


def test_semantic_maps_from_proposals(config, tmp_path) -> None:
    """Without void, although the filter keeps no proposal."""
    found = predict(config("task=semantic", "semantic=proposals", "filtering.threshold=1", "top_k=2")).last
    values = np.asarray(Image.open(tmp_path / "out" / "semantic" / "photo.of mine.png"))
    assert values.shape == (53, 37)
    assert values.min() > 0
    assert sorted(np.unique(values)) == sorted(s.label + 1 for s in found.segments)
    assert all(len(s.top) == 2 and s.top[0].label == s.label for s in found.segments)
    assert predict(config("task=semantic", "filtering.threshold=1")).last.segments == ()


def test_unknown_and_a_tree_of_names(config, tmp_path) -> None:
    predict(config("unknown=1"))
    assert names(tmp_path / "out")[-1] == "unknown"
    (tmp_path / "tree.yaml").write_text("thing: {circle: [red circle]}\nstuff: [green stripes]\n")
    predict(config(f"vocabulary={tmp_path / 'tree.yaml'}"))
    data = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    segments = data["annotations"][0]["segments_info"]
    assert segments and all(s["path"][0][0] in ("thing", "stuff") for s in segments)


# --- the command line -------------------------------------------------------------------------------------------------


def test_the_command_of_the_readme(config, command, lenient_checkpoint, image_path, tmp_path) -> None:
    config()  # the checkpoint is read once for all tests
    out = tmp_path / "run"
    arguments = [f"checkpoint={lenient_checkpoint}", f"image={image_path}", f"hydra.run.dir={out}"]
    code, told = command(main, *arguments, "vocabulary=pink flower, yellow house, o'clock (noon)")
    assert code == 0
    assert all(line.startswith("warning: ") for line in told.splitlines())
    assert told.count("'o'clock (noon)'") == 1  # the only name that the tiny CLIP does not know
    assert names(out) == ["pink flower", "yellow house", "o'clock (noon)"]
    assert command(main, *arguments, "vocabulary='sea, tree'", "overwrite=true")[0] == 0
    assert names(out) == ["sea", "tree"]


def test_names_and_paths_with_brackets_are_printed_as_they_are(config, lenient_checkpoint, tmp_path, capsys) -> None:
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "a.png")
    words = "'purple [/] noise, blue [x] waves'"
    given = [f"image={tmp_path / 'a.png'}", f"vocabulary={words}", f"output='{tmp_path / '[x]'}'"]
    predict(config(*given))
    printed = capsys.readouterr().out
    assert f"written to {tmp_path / '[x]'}" in printed
    assert "purple [/] noise" in printed or "blue [x] waves" in printed


def test_the_folder_of_the_images_is_no_output(config, tmp_path) -> None:
    for name in ("a", "b"):
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / f"{name}.png")
    with pytest.raises(InputError, match="is the folder of the images: give another"):
        predict(config(f"image={tmp_path}", f"vocabulary='{WORDS}'", f"output={tmp_path}"))
    with pytest.raises(InputError, match="output must be a folder, got '': give output=FOLDER"):
        predict(config(f"image={tmp_path}", f"vocabulary='{WORDS}'", "output=''"))


def images_of(folder: Path) -> list[str]:
    return [image["file_name"] for image in json.loads((folder / "panoptic.json").read_text())["images"]]


def needs_memory(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """A network whose memory suffices for ``limit`` pixels of images of a batch."""
    propose = Predictor.propose

    def limited(self, images, *more):
        if sum(image.pixels.shape[0] * image.pixels.shape[1] for image in images) > limit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return propose(self, images, *more)

    monkeypatch.setattr(Predictor, "propose", limited)


def test_an_image_that_needs_too_much_memory_is_reported(config, folder, tmp_path, capsys, monkeypatch) -> None:
    """The others of its batch are predicted alone."""
    given = config(f"image='{folder}/[acd].*'")
    needs_memory(monkeypatch, 53 * 37)  # a.png and c.jpg, each alone
    outcome = predict(given)
    assert images_of(tmp_path / "out") == ["a.png", "c.jpg"]
    (message,) = outcome.failed
    assert message.startswith("image d.png (90 x 40 pixels) needs more memory than there is (DefaultCPUAllocator")
    told = " ".join(capsys.readouterr().err.split())  # the progress bar's console breaks lines
    assert f"skipped: {message}" in told


def test_the_only_image_that_needs_too_much_memory_is_an_error(config, monkeypatch) -> None:
    given = config()
    needs_memory(monkeypatch, 1)
    with pytest.raises(InputError, match=r"photo\.of mine\.png \(37 x 53 pixels\) needs more memory"):
        predict(given)


FAILING = Path(__file__).resolve().parents[3] / "shared" / "data" / "failing" / "images"


@pytest.mark.skipif(not FAILING.is_dir(), reason=f"damaged images are not at {FAILING}")
def test_images_at_which_readers_fail_do_not_end_a_folder(config, folder, tmp_path) -> None:
    damaged = sorted(path.name for path in FAILING.iterdir())
    for name in damaged:
        shutil.copyfile(FAILING / name, folder / name)
    outcome = predict(config(f"image={folder}"))
    assert images_of(tmp_path / "out") == ["a.png", "c.jpg", "d.png"]
    assert len(outcome.failed) == 1 + len(damaged)
    assert all(" cannot be read as an image (" in message for message in outcome.failed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGTERM, 143, "stopped by SIGTERM"), (signal.SIGINT, 130, "interrupted"), (signal.SIGKILL, -9, "")],
)
def test_a_stopped_prediction_has_written_what_was_done(number, code, said, image_path, lenient_checkpoint, tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for i in range(400):
        shutil.copyfile(image_path, images / f"{i:03d}.png")
    arguments = [f"checkpoint={lenient_checkpoint}", f"image={images}", "vocabulary=sea,tree", f"output={out}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "opsnet.predict", *arguments, "batch_size=2", "device=cpu"], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while process.poll() is None and len(list(out.glob("*_overlay.png"))) < 20:
        time.sleep(0.01)
    process.send_signal(number)
    _, error = process.communicate(timeout=120)
    assert process.returncode == code
    done = images_of(out)
    assert all((out / "panoptic" / name).is_file() for name in done)
    assert "Traceback" not in error
    if number == signal.SIGKILL:
        assert len(done) >= 1
        return
    assert len(done) == len(list(out.glob("*_overlay.png"))) >= 20
    assert f"{said}; {len(done)} of 400 images are complete in {out}; the same command with output={out} con" in error
