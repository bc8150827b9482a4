"""Images with image-level labels: which, in which order, and every way in which folder and labels can disagree."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from opsnet.data.batching import collate
from opsnet.data.image_label_dataset import ImageLabelDataset
from opsnet.data.transforms import TrainTransform
from opsnet.structures import ImageLabels
from opsnet.utils.errors import DatasetError
from opsnet.vocabulary import Vocabulary

NAMES = Vocabulary.from_names(["cat", "dog", "grass"], "pets")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images in two class folders, of 4, 5, 6 and 7 pixels width; by file name the folders alternate."""
    for k in range(4):
        path = tmp_path / "val" / f"n{k % 2}" / f"p{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((3, 4 + k, 3), k, np.uint8)).save(path)
    (tmp_path / "val" / "readme.txt").write_text("no image")
    write(tmp_path, [[0], [], [2, 1, 2], [1]])
    return tmp_path


def write(folder: Path, lists: object) -> None:
    (folder / "real.json").write_text(json.dumps(lists))


def dataset(folder: Path, **options: object) -> ImageLabelDataset:
    return ImageLabelDataset(images=folder / "val", labels=folder / "real.json", vocabulary=NAMES, **options)


def test_labels_follow_the_file_names_and_images_without_are_left_out(folder: Path) -> None:
    found = dataset(folder)
    assert (len(found), found.unlabelled) == (3, 1)
    samples = [found[i] for i in range(3)]
    assert [s.image_id for s in samples] == ["p0.png", "p2.png", "p3.png"]
    assert [s.labels.tolist() for s in samples] == [[0], [1, 2], [1]]  # a label twice counts once
    assert [tuple(s.image.shape) for s in samples] == [(3, 3, 4), (3, 3, 6), (3, 3, 7)]
    assert [int(s.image.max()) for s in samples] == [0, 2, 3]


def test_a_batch_carries_image_labels_beside_padded_images(folder: Path) -> None:
    found = dataset(folder)
    batch = collate([found[0], found[2]], vocabulary="pets", size_divisor=8)
    assert batch.images.shape == (2, 3, 8, 8)
    assert batch.valid_sizes == [(3, 4), (3, 7)]
    assert isinstance(batch.targets, ImageLabels)
    assert [labels.tolist() for labels in batch.targets.labels] == [[0], [1]]
    assert batch.panoptic == []
    assert torch.all(batch.images[1, :, :3, :7] == 3 / 255) and batch.images[1, :, 3:].sum() == 0


def test_the_training_transform_is_applied(folder: Path) -> None:
    transform = TrainTransform(size=14, scale=(1, 1), flip=0, canvas=False)
    assert dataset(folder, transform=transform)[2].image.shape == (3, 6, 14)


def test_limit_counts_images_of_the_folder(folder: Path) -> None:
    assert len(dataset(folder, limit=2)) == 1


@pytest.mark.parametrize(
    ("lists", "parts"),
    [
        ([[0]], ["holds 4 images", "real.json labels 1", "complete the folder"]),
        ([[0], [3], [], []], ["p1.png", "has label 3", "vocabulary 'pets' numbers its names 0 to 2"]),
        ([[0], ["cat"], [], []], ["has label 'cat'"]),
        ([[], [], [], []], ["no image of", "has a label"]),
        ({"a": 1}, ["not a list of lists"]),
    ],
)
def test_labels_that_do_not_fit_are_named(folder: Path, lists: object, parts: list[str]) -> None:
    write(folder, lists)
    with pytest.raises(DatasetError) as caught:
        dataset(folder)
    assert all(part in str(caught.value) for part in parts), caught.value


def test_missing_and_broken_files_are_named(folder: Path) -> None:
    (folder / "real.json").write_text("[[")
    with pytest.raises(DatasetError, match=r"real.json is not valid json"):
        dataset(folder)
    (folder / "real.json").unlink()
    with pytest.raises(DatasetError, match=r"labels .*real.json does not exist: check the path"):
        dataset(folder)
    with pytest.raises(DatasetError, match=r"nowhere does not exist: check `images`"):
        ImageLabelDataset(images=folder / "nowhere", vocabulary=NAMES)
    with pytest.raises(DatasetError, match="limit must be at least 1"):
        dataset(folder, limit=0)


def test_the_embedded_world_has_image_labels(world) -> None:
    root = world.data / "scenes_0" / "scenes_labels"
    found = ImageLabelDataset(images=root / "val", labels=root / "real.json", vocabulary="scenes_labels")
    assert len(found) + found.unlabelled == len(json.loads((root / "real.json").read_text()))
    sample = found[0]
    assert sample.image.shape == (3, 96, 96)
    assert 1 <= len(sample.labels) <= 5
