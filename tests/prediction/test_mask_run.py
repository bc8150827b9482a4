"""opsnet-predict masks=...: files in, labelled maps with the masks' ids out."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opsnet.commands.predict import main
from opsnet.data.panoptic_png import read_ids
from opsnet.prediction.run import predict
from opsnet.recognition.modulation import ClipOnly
from opsnet.utils.errors import InputError

WORDS = "red circle, yellow triangle, blue square"  # things


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images with a PNG of ids each; the second has another size than its masks if it is spoilt."""
    generator = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for name in ("a", "b"):
        Image.fromarray(generator.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(
            tmp_path / "images" / f"{name}.jpg"
        )
        ids = np.zeros((40, 60), np.uint8)
        ids[:20, :30], ids[25:, 10:50] = 7, 200
        Image.fromarray(ids).save(tmp_path / "masks" / f"{name}.png")
    return tmp_path


@pytest.fixture
def config(compose, lenient_checkpoint, folder: Path):
    def make(*overrides: str):
        given = [f"checkpoint={lenient_checkpoint}", f"vocabulary='{WORDS}'", "device=cpu", f"output={folder / 'out'}"]
        given.append("overwrite=true")
        return compose("predict", *given, f"image={folder / 'images'}", f"masks={folder / 'masks'}", *overrides)

    return make


def segments(folder: Path) -> list[list[dict]]:
    data = json.loads((folder / "out" / "panoptic.json").read_text())
    return [annotation["segments_info"] for annotation in data["annotations"]]


def test_a_folder(config, folder: Path, capsys) -> None:
    outcome = predict(config("top_k=2"))
    assert (outcome.done, outcome.failed) == (2, [])
    assert "masks: 4 named" in capsys.readouterr().out
    for name, infos in zip("ab", segments(folder), strict=True):
        ids, masks = (
            read_ids(folder / "out" / "panoptic" / f"{name}.png"),
            np.asarray(Image.open(folder / "masks" / f"{name}.png")),
        )
        assert {i for info in infos for i in info["source_ids"]} == {7, 200}
        for info in infos:
            assert np.array_equal(ids == info["id"], np.isin(masks, info["source_ids"]))
            assert len(info["names"]) == 2
    with (folder / "out" / "segments.csv").open(newline="") as file:
        assert {i for row in csv.DictReader(file) for i in row["source_ids"].split()} == {"7", "200"}


def test_invalid_masks_of_one_image_do_not_end_the_others(config, folder: Path, capsys) -> None:
    Image.new("L", (30, 40)).save(folder / "masks" / "a.png")
    outcome = predict(config())
    assert outcome.done == 1
    assert "a.png: the map is 30 x 40 pixels, but the image is 60 x 40" in outcome.failed[0]
    assert "skipped: masks" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"a\.png: the map is 30 x 40 pixels"):
        predict(config(f"image={folder / 'images' / 'a.jpg'}"))


def test_what_is_dropped_is_written(config, folder: Path, capsys) -> None:
    mask = {"segmentation": [[0, 0, 30, 0, 30, 30, 0, 30]], "id": 1}
    empty = {"segmentation": {"size": [40, 60], "counts": [2400]}, "id": 2}
    (folder / "sam.json").write_text(json.dumps([mask, {**mask, "id": 3}, empty]))
    predict(config(f"image={folder / 'images' / 'a.jpg'}", f"masks={folder / 'sam.json'}"))
    assert "masks: 1 named, 1 empty, 1 covered by masks in front" in capsys.readouterr().out
    (annotation,) = json.loads((folder / "out" / "panoptic.json").read_text())["annotations"]
    assert len(annotation["segments_info"]) == 1

    assert {d["reason"] for d in annotation["dropped_masks"]} == {"empty", "covered"}


def test_the_filter_and_the_recognizer(config, folder: Path) -> None:
    predict(config("filtering.threshold=1"))
    assert segments(folder) == [[], []]
    predict(config("filtering=iou"))
    assert [len(infos) > 0 for infos in segments(folder)] == [True, True]
    with pytest.raises(InputError, match="EmbeddingModulation needs query embeddings"):
        predict(config("modulation=full"))
    with pytest.raises(InputError, match="front must be small or score"):
        predict(config("front=x"))
    with pytest.raises(InputError, match="semantic=proposals needs the network's own proposals"):
        predict(config("task=semantic", "semantic=proposals"))
    with pytest.raises(InputError, match=r"has no b\.json, \.png or folder"):
        (folder / "masks" / "b.png").unlink()
        predict(config())


def test_clip_alone_names_masks_without_a_checkpoint(world, folder: Path, command, monkeypatch) -> None:
    """The network's recognizer would be an untrained one."""
    used = []
    forward = ClipOnly.forward
    monkeypatch.setattr(ClipOnly, "forward", lambda self, *given: used.append(1) or forward(self, *given))
    given = ["clip=tiny", f"clip.model.weights={world.clip}", "device=cpu", "model=fcclip"]
    given += [f"image={folder / 'images'}", f"masks={folder / 'masks'}", f"vocabulary={WORDS}"]
    assert command(main, *given, f"output={folder / 'out'}")[0] == 0
    assert used
    first = (folder / "out" / "panoptic.json").read_text()
    assert command(main, *given, f"output={folder / 'out'}", "overwrite=true")[0] == 0
    assert (folder / "out" / "panoptic.json").read_text() == first
    moved = [
        f"clip_weights={world.clip}",
        *given[2:],
        f"output={folder / 'out'}",
        "overwrite=true",
    ]  # the keys of published weights
    assert command(main, "clip=tiny", *moved)[0] == 0
    assert (folder / "out" / "panoptic.json").read_text() == first
    (folder / "out" / "panoptic.json").unlink()
    assert command(main, "clip_model=tiny", *moved)[0] == 0
    assert all({i for info in infos for i in info["source_ids"]} == {7, 200} for infos in segments(folder))
