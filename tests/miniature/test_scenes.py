"""The synthetic world on disk: byte-identical for a seed, resumable, and readable by the dataset classes."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.miniature import drawing, scenes
from opsnet.miniature.drawing import DOMAINS, MIN_VISIBLE_PX, SIZE, draw_scene
from opsnet.miniature.scenes import write_captions, write_world
from opsnet.vocabulary import Vocabulary

COUNTS = {"train": 3, "val": 2, "test": 2, "labels": 4}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world of seed 0, drawn by one process."""
    root = tmp_path_factory.mktemp("world")
    write_world(root, seed=0, workers=1, **COUNTS)
    write_captions(root / "captions", seed=0, count=10, workers=1)
    return root


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images per chunk."""
    monkeypatch.setattr(scenes, "CHUNK", 2)


def contents(root: Path) -> dict[str, bytes]:
    """Every file below ``root`` except lock files, which some systems keep and others remove."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def read_ids(path: Path) -> np.ndarray:
    with Image.open(path) as png:
        return np.asarray(png).astype(np.int64) @ np.array([1, 256, 65536])


def image_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


# --- several at once ------------------------------------------------------------------------------


def draw_beside(root: Path, start: Any) -> None:
    start.wait()
    write_world(root, seed=0, workers=1, **COUNTS)


def test_jobs_that_start_together_draw_one_world(world: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(4)
    jobs = [context.Process(target=draw_beside, args=(tmp_path, start)) for _ in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0, 0, 0]
    drawn = {name: data for name, data in contents(world).items() if not name.startswith("captions")}
    assert contents(tmp_path) == drawn


# --- repeatable -----------------------------------------------------------------------------------


# Only forked processes see that the chunks are small here.
FORKED = pytest.mark.skipif(multiprocessing.get_start_method() != "fork", reason="processes are not forked here")


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=FORKED)])
def test_the_same_seed_writes_the_same_bytes(world: Path, tmp_path: Path, small_chunks: None, workers: int) -> None:
    write_world(tmp_path, seed=0, workers=workers, **COUNTS)
    write_captions(tmp_path / "captions", seed=0, count=10, workers=workers)
    assert contents(tmp_path) == contents(world)


def test_processes_share_the_work_of_full_chunks(tmp_path: Path) -> None:
    for workers in (1, 2):
        write_captions(tmp_path / str(workers), count=scenes.CHUNK + 2, workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert len(contents(tmp_path / "1")) == scenes.CHUNK + 2 + 2  # the json and its stamp


def test_another_seed_draws_other_images(world: Path, tmp_path: Path) -> None:
    write_captions(tmp_path, seed=1, count=10, workers=1)
    old, new = contents(world / "captions"), contents(tmp_path)
    assert old.keys() == new.keys()
    assert all(old[name] != new[name] for name in old)


def test_domains_and_splits_do_not_repeat_each_other(world: Path) -> None:
    images = [path.read_bytes() for path in world.rglob("*.png")]
    assert len(images) == len(set(images))


def test_an_image_does_not_depend_on_how_many_there_are(world: Path, tmp_path: Path) -> None:
    write_world(tmp_path, seed=0, workers=1, train=1, val=0, test=0, labels=1)
    found = contents(tmp_path)
    expected = contents(world)
    pngs = [name for name in found if name.endswith(".png")]
    assert len(pngs) == 3  # an image and its ids, and a labelled one
    assert all(found[name] == expected[name] for name in pngs)


# --- resumable ------------------------------------------------------------------------------------


def draw_captions(monkeypatch: pytest.MonkeyPatch, root: Path, *, stop_at: int | None = None, **options) -> list[int]:
    """Writes ten captioned images; which ones were drawn. ``stop_at``: interrupts before that one."""
    drawn: list[int] = []

    def draw(*arguments):
        if arguments[-1] == stop_at:
            raise KeyboardInterrupt
        drawn.append(arguments[-1])
        return original(*arguments)

    with monkeypatch.context() as patch:
        original = scenes._draw_captioned
        patch.setattr(scenes, "_draw_captioned", draw)
        if stop_at is None:
            write_captions(root, count=10, workers=1, **options)
        else:
            with pytest.raises(KeyboardInterrupt):
                write_captions(root, count=10, workers=1, **options)
    return drawn


def test_an_interrupted_run_goes_on_with_the_unfinished_parts(world, tmp_path, monkeypatch, small_chunks) -> None:
    assert draw_captions(monkeypatch, tmp_path, stop_at=5) == [0, 1, 2, 3, 4]
    assert not (tmp_path / "captions.json").exists()
    assert draw_captions(monkeypatch, tmp_path) == [4, 5, 6, 7, 8, 9]
    assert contents(tmp_path) == contents(world / "captions")


def test_what_is_finished_is_left_alone(tmp_path, monkeypatch) -> None:
    assert draw_captions(monkeypatch, tmp_path) == list(range(10))
    assert draw_captions(monkeypatch, tmp_path) == []


@pytest.mark.parametrize("change", ["seed", "version", "annotations"])
def test_what_does_not_fit_is_drawn_anew(tmp_path, monkeypatch, change: str) -> None:
    draw_captions(monkeypatch, tmp_path)
    if change == "version":
        monkeypatch.setattr(scenes, "VERSION", scenes.VERSION + 1)
    if change == "annotations":
        (tmp_path / "captions.json").unlink()
    assert draw_captions(monkeypatch, tmp_path, seed=int(change == "seed")) == list(range(10))


def test_an_interrupted_change_of_the_seed_leaves_nothing_that_looks_finished(
    world, tmp_path, monkeypatch, small_chunks
) -> None:
    draw_captions(monkeypatch, tmp_path, seed=0)
    draw_captions(monkeypatch, tmp_path, seed=1, stop_at=5)  # overwrites images of seed 0
    draw_captions(monkeypatch, tmp_path, seed=0)
    assert contents(tmp_path) == contents(world / "captions")


def test_parts_of_another_seed_are_not_taken_up_again(tmp_path, monkeypatch, small_chunks) -> None:
    draw_captions(monkeypatch, tmp_path / "both", seed=1, stop_at=5)
    draw_captions(monkeypatch, tmp_path / "both", seed=0)  # overwrites what seed 1 had drawn
    draw_captions(monkeypatch, tmp_path / "both", seed=1)
    draw_captions(monkeypatch, tmp_path / "one", seed=1)
    assert contents(tmp_path / "both") == contents(tmp_path / "one")


# --- readable -------------------------------------------------------------------------------------

SPLITS = [("scenes", "train"), ("scenes", "val"), ("scenes", "test")] + [
    (name, split) for name in ("scenes_novel", "scenes_street") for split in ("val", "test")
]


@pytest.mark.parametrize(("domain", "split"), SPLITS)
def test_every_domain_is_a_panoptic_dataset(world: Path, domain: str, split: str) -> None:
    annotations = world / domain / "annotations" / f"panoptic_{split}.json"
    dataset = PanopticDataset(images=world / domain / split, annotations=annotations, vocabulary=domain)
    assert len(dataset) == COUNTS[split]
    dataset.check_pixels()
    for index in range(len(dataset)):
        sample = dataset[index]
        assert sample.image.shape == (3, SIZE, SIZE)
        assert len(sample.masks) > 0
        assert not (sample.masks.sum(0) > 1).any()


def test_the_json_agrees_with_the_png(world: Path) -> None:
    for domain, split in SPLITS:
        folder = world / domain / "annotations"
        data = json.loads((folder / f"panoptic_{split}.json").read_text())
        assert [c["id"] for c in data["categories"]] == list(Vocabulary.load(domain).ids)
        for image, annotation in zip(data["images"], data["annotations"], strict=True):
            assert annotation["image_id"] == image["id"]
            ids = read_ids(folder / f"panoptic_{split}" / annotation["file_name"])
            segments = {s["id"]: s for s in annotation["segments_info"]}
            assert set(segments) == set(np.unique(ids)) - {0}
            for segment_id, segment in segments.items():
                left, top, width, height = segment["bbox"]
                rows, columns = np.nonzero(ids == segment_id)
                assert segment["area"] == len(rows)
                assert (left, top) == (columns.min(), rows.min())
                assert (left + width - 1, top + height - 1) == (columns.max(), rows.max())


def test_only_scenes_has_a_training_split(world: Path) -> None:
    assert [path.parent.parent.name for path in world.rglob("panoptic_train.json")] == ["scenes"]


def test_labels_are_indices_of_what_is_seen(world: Path) -> None:
    labels = json.loads((world / "scenes_labels" / "real.json").read_text())
    images = sorted((world / "scenes_labels" / "val").iterdir())
    assert len(labels) == len(images) == COUNTS["labels"]
    size = len(Vocabulary.load("scenes_labels"))
    for row in labels:
        assert row == sorted(set(row))
        assert row
        assert set(row) <= set(range(size))
    assert image_size(images[0]) == (SIZE, SIZE)


def test_captions_name_a_thing_then_its_ground(world: Path) -> None:
    data = json.loads((world / "captions" / "captions.json").read_text())
    kinds = {concept.name: concept.is_thing for concept in Vocabulary.load("scenes_world").concepts}
    assert len(data["images"]) == len(data["annotations"]) == 10
    for image, annotation in zip(data["images"], data["annotations"], strict=True):
        assert annotation["image_id"] == image["id"]
        size = image_size(world / "captions" / "images" / image["file_name"])
        assert size == (image["width"], image["height"]) == (32, 32)
        things = [kinds[name] for name in annotation["caption"].split(" on ")]
        assert things in ([True], [False], [True, False])
        assert annotation["has_thing"] or things == [False]
    assert [annotation["has_thing"] for annotation in data["annotations"]] == [True] * 8 + [False] * 2


# --- what a scene holds ---------------------------------------------------------------------------


@pytest.fixture(scope="module", params=DOMAINS)
def drawn(request: pytest.FixtureRequest):
    """Forty scenes of a domain: its name, and ids and segments of each."""
    scenes_of = [draw_scene(DOMAINS[request.param], np.random.default_rng([7, i])) for i in range(40)]
    return request.param, [(ids, segments) for _, ids, segments in scenes_of]


def test_crowd_and_void_occur(drawn) -> None:
    name, found = drawn
    things = {c.id for c in Vocabulary.load(name).concepts if c.is_thing}
    crowds = [s for _, segments in found for s in segments if s["iscrowd"]]
    assert 1 <= len(crowds) <= 15  # about one image in eight
    assert all(s["category_id"] in things for s in crowds)
    assert 1 <= sum((ids == 0).any() for ids, _ in found) < 40


def test_segments_are_large_enough_and_fill_most_of_the_image(drawn) -> None:
    for ids, segments in drawn[1]:
        assert min(s["area"] for s in segments) >= MIN_VISIBLE_PX
        assert sum(s["area"] for s in segments) == (ids > 0).sum() > 0.7 * SIZE * SIZE
        assert len({s["id"] for s in segments}) == len(segments)


def test_a_scene_has_things_and_at_least_a_region_of_stuff(drawn) -> None:
    name, found = drawn
    kinds = {c.id: c.is_thing for c in Vocabulary.load(name).concepts}
    counts = [[kinds[s["category_id"]] for s in segments] for _, segments in found]
    assert all(row.count(False) >= 1 for row in counts)
    assert sum(row.count(True) for row in counts) > 2 * len(counts)
    assert {s["category_id"] for _, segments in found for s in segments} == set(kinds)  # forty scenes show all names


def test_what_is_painted_later_hides_what_was_there() -> None:
    stuff, cat = Vocabulary.load("scenes").concepts[-1], Vocabulary.load("scenes").concepts[0]
    everywhere, square, speck = (np.zeros((SIZE, SIZE), bool) for _ in range(3))
    everywhere[:], square[10:20, 30:50], speck[60:64, 60:65] = True, True, True
    unknown = np.zeros((SIZE, SIZE), bool)
    unknown[10:12, 30:50] = True
    layers = [(everywhere, stuff, False), (square, cat, False), (speck, cat, False), (unknown, None, False)]
    ids, segments = drawing._flatten(layers)
    assert [(s["id"], s["area"]) for s in segments] == [
        (stuff.id * 1000 + 1, SIZE * SIZE - 200 - 20),
        (cat.id * 1000 + 2, 160),
    ]
    assert segments[1]["bbox"] == [30, 12, 20, 8]
    assert (ids[60:64, 60:65] == 0).all()  # 20 pixels are too few
    assert (ids[10:12, 30:50] == 0).all()
