"""Preparation scripts on tiny trees in the official layouts; Cityscapes against the official converter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from PIL import Image
from script_loading import SCRIPTS, load_script

from opsnet.vocabulary import Vocabulary


@pytest.fixture
def prepare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[object, str]]:
    """(data set, arguments) -> exit code and stderr of its script."""
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def run(dataset: str, *arguments: object) -> tuple[object, str]:
        try:
            load_script(f"prepare_{dataset}").main([*map(str, arguments)])
        except SystemExit as end:
            return end.code, capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def cityscapes_tree(root: Path) -> None:
    """Two cities; stuff, things with and without instances, groups, and classes that are not evaluated."""
    rng = np.random.default_rng(0)
    values = [0, 3, 4, 7, 8, 11, 15, 17, 21, 23, 24, 26, 29, 24000, 24001, 25003, 26011, 29001, 33000, 33999]
    for split in ("train", "val"):
        for city, number in (("aachen", 19), ("ulm", 5), ("ulm", 12)):
            stem = f"{city}_000000_{number:06d}"
            blocks = rng.choice(values, (6, 8)).astype(np.uint16)
            save(
                root / "gtFine" / split / city / f"{stem}_gtFine_instanceIds.png",
                np.kron(blocks, np.ones((4, 4), np.uint16)),
            )
            picture = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            save(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", picture)


def test_cityscapes_is_what_the_official_converter_makes(tmp_path: Path, prepare) -> None:
    official = pytest.importorskip("cityscapesscripts.preparation.createPanopticImgs")
    cityscapes_tree(tmp_path / "src")
    assert prepare("cityscapes", tmp_path / "src", tmp_path / "ours", "--workers", 2)[0] == 0
    (tmp_path / "official").mkdir()
    official.convert2panoptic(str(tmp_path / "src" / "gtFine"), str(tmp_path / "official"), setNames=["train", "val"])
    jsons = [p.relative_to(tmp_path / "official") for p in (tmp_path / "official").glob("*.json")]
    assert len(jsons) == 2
    for name in jsons:
        ours, theirs = (json.loads((tmp_path / side / name).read_text()) for side in ("ours", "official"))
        assert ours == theirs
        assert any(s["iscrowd"] for a in theirs["annotations"] for s in a["segments_info"])
    pngs = [p.relative_to(tmp_path / "official") for p in (tmp_path / "official").rglob("*.png")]
    assert len(pngs) == 6
    for name in pngs:
        assert np.array_equal(*(np.array(Image.open(tmp_path / side / name)) for side in ("ours", "official")))


def ade20k_tree(root: Path) -> dict[str, np.ndarray]:
    """Class maps and instance maps as distributed: wall, bed (twice), a bed without instance, person, void."""
    classes = np.zeros((8, 8), np.uint8)
    classes[:4] = 1  # wall
    classes[4:6, :6] = 8  # bed
    classes[6, 6] = 13  # person
    instances = np.zeros((8, 8, 3), np.uint8)
    instances[4:6, :2, 0], instances[4:6, :2, 1] = 1, 1  # bed is the first thing
    instances[4:6, 2:5, 0], instances[4:6, 2:5, 1] = 1, 2
    instances[6, 6, 0], instances[6, 6, 1] = 4, 1  # bed, window, cabinet, person
    for folder in ("training", "validation"):
        stem = f"ADE_{'train' if folder == 'training' else 'val'}_00000017"
        save(root / "images" / folder / f"{stem}.jpg", np.full((8, 8, 3), 90, np.uint8))
        save(root / "annotations" / folder / f"{stem}.png", classes)
        save(root / "annotations_instance" / folder / f"{stem}.png", instances)
    return {"classes": classes, "instances": instances}


def test_ade20k(tmp_path: Path, prepare) -> None:
    ade20k_tree(tmp_path / "src")
    assert prepare("ade20k", tmp_path / "src", tmp_path / "dst")[0] == 0
    content = json.loads((tmp_path / "dst" / "ade20k_panoptic_val.json").read_text())
    assert content["images"] == [{"id": 17, "width": 8, "height": 8, "file_name": "ADE_val_00000017.jpg"}]
    (annotation,) = content["annotations"]
    names = {c["id"]: c["name"] for c in content["categories"]}
    found = [(names[s["category_id"]], s["area"], s["bbox"]) for s in annotation["segments_info"]]
    assert found == [
        ("wall", 32, [0, 0, 8, 4]),
        ("bed", 4, [0, 4, 2, 2]),
        ("bed", 6, [2, 4, 3, 2]),
        ("person", 1, [6, 6, 1, 1]),
    ]
    png = np.array(Image.open(tmp_path / "dst" / "ade20k_panoptic_val" / annotation["file_name"]))
    assert not png[4:6, 5].any()  # a bed of no instance is void


@pytest.mark.parametrize(("dataset", "tree"), [("cityscapes", cityscapes_tree), ("ade20k", ade20k_tree)])
def test_what_was_prepared_is_what_its_yaml_reads(tmp_path: Path, prepare, compose, dataset: str, tree) -> None:
    tree(tmp_path / "src")
    assert prepare(dataset, tmp_path / "src", tmp_path / "data" / dataset)[0] == 0
    small = ["num_workers=0", "batch_size=1", "train.transform.size=64", "val.transform.shortest=40"]
    changes = [f"++data.module.{change}" for change in small]
    config = compose("train", f"data={dataset}", f"paths.data={tmp_path / 'data'}", *changes)
    data = instantiate(config.data.module, _convert_="object")
    data.setup()
    batch = next(iter(data.test_dataloader()[0]))
    assert batch.vocabulary == dataset
    assert batch.panoptic[0].segments
    labels = {s.label for s in batch.panoptic[0].segments}
    assert labels <= set(range(len(Vocabulary.load(dataset))))
    assert next(iter(data.train_dataloader())).targets.masks[0].ndim == 3


@pytest.mark.parametrize("dataset", ["cityscapes", "ade20k"])
def test_a_missing_folder_is_named_with_where_to_get_it(tmp_path: Path, prepare, dataset: str) -> None:
    code, message = prepare(dataset, tmp_path / "nowhere")
    assert code == 2
    assert f"{tmp_path / 'nowhere'} does not exist" in message
    code, message = prepare(dataset, tmp_path, tmp_path / "dst")
    assert code == 2
    assert "unpack" in message and "http" in message
    assert len(message.strip().splitlines()) == 1
