"""Conversion to COCO's panoptic format: what it says of segments, resumption, links, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from opsnet.data.coco_panoptic_writing import SegmentLabel
from opsnet.data.conversion import Source, convert, link
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.utils.errors import DatasetError, InputError
from opsnet.vocabulary import Concept, Vocabulary

PETS = Vocabulary("pets", (Concept(3, "cat", True), Concept(7, "grass", False)))


def read(source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    """Grey 1 is a cat, grey 2 grass."""
    grey = np.array(Image.open(source.labels[0]), dtype=np.int64)
    if grey.max() > 2:
        raise ValueError(f"grey {grey.max()}")
    return grey * 300, [SegmentLabel(300, 3), SegmentLabel(600, 7, is_crowd=True)]


def refuse(source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    raise AssertionError(f"{source.png} was read again")


def made(folder: Path, count: int = 3) -> list[Source]:
    """Images of one cat each, a pixel wider every time, on grass."""
    sources = []
    for i in range(count):
        grey = np.full((4, 6), 2, np.uint8)
        grey[1:3, : i + 1] = 1
        image, label = folder / "src" / f"{i}.jpg", folder / "src" / f"{i}.png"
        image.parent.mkdir(exist_ok=True)
        Image.new("RGB", (6, 4)).save(image)
        Image.fromarray(grey).save(label)
        sources.append(Source(i + 1, image, f"{i}.jpg", f"{i}_panoptic.png", (label,)))
    return sources


def converted(folder: Path, sources: list[Source], reader=read, workers: int = 1, recipe: str = "") -> None:
    convert(
        sources, reader, annotations=folder / "set.json", images=folder / "images", categories=PETS.categories(),
        workers=workers, recipe=recipe,
    )  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2])
def test_a_converted_set_is_read(tmp_path: Path, workers: int) -> None:
    converted(tmp_path, made(tmp_path), workers=workers)
    dataset = PanopticDataset(images=tmp_path / "images", annotations=tmp_path / "set.json", vocabulary=PETS)
    dataset.check_pixels()
    assert [dataset[i].image_id for i in range(3)] == [1, 2, 3]
    cat, grass = dataset[2].truth.segments
    assert (cat.id, cat.label, cat.area, cat.is_crowd) == (300, 0, 6, False)
    assert (grass.id, grass.label, grass.area, grass.is_crowd) == (600, 1, 18, True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "set", "set.json", "src"]


def test_a_set_without_an_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no image for .*set\.json: check the folders"):
        converted(tmp_path, [])
    assert not (tmp_path / "set.json").exists()


def test_a_stopped_conversion_goes_on(tmp_path: Path) -> None:
    sources = made(tmp_path)
    content = sources[2].labels[0].read_bytes()
    Image.fromarray(np.full((4, 6), 3, np.uint8)).save(sources[2].labels[0])
    with pytest.raises(DatasetError, match=r"annotation .*2\.png cannot be read \(grey 3\): replace the file"):
        converted(tmp_path, sources)
    assert not (tmp_path / "set.json").exists()
    sources[2].labels[0].write_bytes(content)

    def third_alone(source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
        return read(source) if source.image_id == 3 else refuse(source)

    converted(tmp_path, sources, third_alone)
    whole = tmp_path / "whole"
    whole.mkdir()
    converted(whole, sources)
    assert json.loads((tmp_path / "set.json").read_text()) == json.loads((whole / "set.json").read_text())


def test_what_was_finished_is_done_again_where_its_label_or_the_recipe_changed(tmp_path: Path) -> None:
    sources, again = made(tmp_path), []

    def watched(source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
        again.append(source.image_id)
        if source.image_id == 3:
            raise InputError("stop: as it says")
        return read(source)

    for recipe in ("one", "other", "other"):
        with pytest.raises(InputError, match=r"^stop: as it says \(1 of 3 images cannot be converted; .*from there\)$"):
            converted(tmp_path, sources, watched, recipe=recipe)
        late = time.time() + 5
        os.utime(sources[1].labels[0], (late, late))
    assert again == [1, 2, 3, 1, 2, 3, 2, 3]


def test_a_finished_set_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    converted(tmp_path, made(tmp_path))
    converted(tmp_path, made(tmp_path), refuse)
    assert "set.json exists already: remove it to convert the set again" in capsys.readouterr().err


def test_a_missing_file_is_named_before_anything_is_written(tmp_path: Path) -> None:
    sources = made(tmp_path)
    sources[1].labels[0].unlink()
    with pytest.raises(DatasetError, match=r"1\.png does not exist \(1 files are missing\): complete the data set"):
        converted(tmp_path, sources)
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


def test_an_annotation_that_is_no_image_is_named(tmp_path: Path) -> None:
    sources = made(tmp_path)
    sources[0].labels[0].write_text("no image")
    with pytest.raises(DatasetError, match=r"0\.png cannot be read"):
        converted(tmp_path, sources, workers=2)


def test_a_link_follows_its_image(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_text(name)
    link(tmp_path / "old", tmp_path / "links" / "a")
    (tmp_path / "old").unlink()
    link(tmp_path / "new", tmp_path / "links" / "a")
    assert (tmp_path / "links" / "a").read_text() == "new"
    (tmp_path / "newer").write_text("newer")
    link(tmp_path / "newer", tmp_path / "links" / "a")
    assert (tmp_path / "links" / "a").read_text() == "newer"
    link(tmp_path / "links" / "a", tmp_path / "links" / "a")
    assert (tmp_path / "links" / "a").resolve() == tmp_path / "newer"


def test_where_there_are_no_links_images_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("not on this disk")

    monkeypatch.setattr(Path, "symlink_to", fail)
    (tmp_path / "image").write_text("pixels")
    link(tmp_path / "image", tmp_path / "links" / "a")
    assert (tmp_path / "links" / "a").read_text() == "pixels"


def damage(source: Source) -> None:
    source.labels[0].write_text("no image")


def test_damaged_labels_are_counted_and_the_others_converted(tmp_path: Path, capsys) -> None:
    sources = made(tmp_path)
    damage(sources[0]), damage(sources[2])
    with pytest.raises(DatasetError, match=r"0\.png cannot be read .*\(2 of 3 images cannot be converted"):
        converted(tmp_path, sources)
    assert "damaged: annotation" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "set").iterdir()] == ["1_panoptic.png"]
    assert not (tmp_path / "set.json").exists()


def test_damaged_labels_can_be_left_out(tmp_path: Path, capsys) -> None:
    sources = made(tmp_path)
    damage(sources[0])
    where = {"annotations": tmp_path / "set.json", "images": tmp_path / "images", "categories": PETS.categories()}
    assert convert(sources, read, workers=1, skip_damaged=True, **where) == 2
    assert "1 of 3 images were left out" in capsys.readouterr().err
    assert [image["id"] for image in json.loads((tmp_path / "set.json").read_text())["images"]] == [2, 3]


def test_a_label_replaced_by_an_older_file_is_read_again(tmp_path: Path) -> None:
    """The clock may have been set back, or a copy may keep its time."""
    sources = made(tmp_path)
    label, content = sources[2].labels[0], sources[1].labels[0].read_bytes()
    damage(sources[0])
    with pytest.raises(DatasetError):
        converted(tmp_path, sources)
    label.write_bytes(content)
    os.utime(label, (1, 1))
    sources[0].labels[0].write_bytes(content)
    converted(tmp_path, sources)
    areas = [a["segments_info"][0]["area"] for a in json.loads((tmp_path / "set.json").read_text())["annotations"]]
    assert areas == [4, 4, 4]


def kill_worker(source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_killed_worker_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"a worker process was killed, .* with fewer --workers"):
        converted(tmp_path, made(tmp_path), kill_worker, workers=2)


def test_a_set_whose_pngs_were_removed_meanwhile_is_not_finished(tmp_path: Path) -> None:
    def remove(source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
        for png in (tmp_path / "set").glob("*.png"):
            png.unlink()
        return read(source)

    with pytest.raises(DatasetError, match=r"0_panoptic\.png was removed while the set was written \(2 of 3"):
        converted(tmp_path, made(tmp_path), remove)
    assert not (tmp_path / "set.json").exists()


def test_names_as_long_as_a_filesystem_allows(tmp_path: Path) -> None:
    name = "n" * 251
    sources = [dataclasses.replace(made(tmp_path)[0], file_name=f"{name}.jpg", png=f"{name}.png")]
    converted(tmp_path, sources)
    assert (tmp_path / "set" / f"{name}.png").is_file()


PREPARATION = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_conversion as t
from opsnet.utils.errors import exit_on_user_error
def slow(source):
    import time
    time.sleep(0.2)
    return t.read(source)
t.slow = slow
folder = Path(sys.argv[1])
with exit_on_user_error(interrupted="run it again"):
    t.converted(folder, [t.dataclasses.replace(s, image_id=i, png=f"{{i}}.png", file_name=f"{{i}}.jpg")
                         for i in range(100) for s in t.made(folder)[:1]], slow, workers=2)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)], ids=["TERM", "KILL"])
def test_a_stopped_conversion_leaves_no_workers_and_no_json(number: int, code: int, tmp_path: Path) -> None:
    """The signal reaches only the parent, as that of ``kill``; workers would wait for it for ever."""
    program = PREPARATION.format(tests=str(Path(__file__).parent))
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )  # fmt: skip
    while process.poll() is None and not list((tmp_path / "set").glob("*.png")):
        time.sleep(0.01)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)  # ends only with the workers, which can write to the pipe too
    assert process.returncode == code
    assert error.endswith("stopped by SIGTERM; run it again\n" if code == 143 else "")
    assert "Traceback" not in error
    assert not (tmp_path / "set.json").exists()
