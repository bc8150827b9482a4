"""The examination of image labels: a sound set, and each defect that it knows."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opsnet.data.findings import Finding
from opsnet.data.image_label_dataset import ImageLabelDataset
from opsnet.data.inspectors import inspector_of
from opsnet.data.set_inspection import Inspection
from opsnet.utils.errors import DatasetError
from opsnet.vocabulary import Vocabulary

NAMES = Vocabulary.from_names(["cat", "dog", "grass"], "pets")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "val").mkdir()
    for k in range(3):
        Image.fromarray(np.full((3, 4, 3), k, np.uint8)).save(tmp_path / "val" / f"p{k}.png")
    (tmp_path / "real.json").write_text(json.dumps([[0], [], [2, 1]]))
    return tmp_path


def inspect(folder: Path, **options: object) -> tuple[Inspection, list[Finding]]:
    keywords = {"images": folder / "val", "labels": folder / "real.json", "vocabulary": NAMES, "transform": str}
    inspector = inspector_of(partial(ImageLabelDataset, **keywords))
    assert inspector is not None
    found: list[Finding] = []
    return inspector.inspect(found.append, **options), found


def test_a_sound_set_is_counted(folder: Path) -> None:
    result, found = inspect(folder)
    assert (result.images, result.annotations, result.labels) == (3, 2, 3)
    assert dict(result.images_per_class) == {0: 1, 1: 1, 2: 1}
    assert [(f.kind.severity, f.message) for f in found] == [("warning", "1 of its images")]
    assert inspect(folder, limit=1)[0].images == 1


def test_an_unreadable_image_is_named(folder: Path) -> None:
    (folder / "val" / "p2.png").write_bytes(b"no image")
    _, found = inspect(folder)
    assert [f.where for f in found if f.kind.severity == "error"] == ["p2.png"]


@pytest.mark.parametrize(
    ("lists", "message"), [([[0]], "holds 3 images"), ([[0], [3], [1]], "has label 3"), (None, "does not exist")]
)
def test_labels_that_do_not_fit_are_named(folder: Path, lists: object, message: str) -> None:
    if lists is None:
        (folder / "real.json").unlink()
    else:
        (folder / "real.json").write_text(json.dumps(lists))
    result, (finding,) = inspect(folder)
    assert finding.kind.name == "labels that do not fit"
    assert message in finding.message
    assert result == Inspection()


def test_a_set_without_a_folder_is_refused() -> None:
    with pytest.raises(DatasetError, match="has no `images`"):
        inspector_of(partial(ImageLabelDataset))
