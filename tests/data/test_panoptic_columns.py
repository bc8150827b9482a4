"""read_columns: annotations of a ground truth as columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from opsnet.data.panoptic_columns import read_columns
from opsnet.utils.errors import DatasetError


def written(folder: Path, **lists: Any) -> Path:
    path = folder / "panoptic.json"
    path.write_text(json.dumps({"images": [], "categories": [], "annotations": [], **lists}))
    return path


def annotation(image: int, *segments: dict[str, Any]) -> dict[str, Any]:
    return {"image_id": image, "file_name": f"{image}.png", "segments_info": list(segments)}


def refused(image_id: int | str, row: int) -> DatasetError:
    return DatasetError(f"image {image_id}, row {row}")


def test_by_hand(tmp_path: Path) -> None:
    """A crowd without area, an image without segments, and hidden pixels."""
    annotations = [
        annotation(3, {"id": 9, "category_id": 2, "area": 5}, {"id": 4, "category_id": 1, "iscrowd": 1}),
        annotation(1),
        annotation(2, {"id": 6, "category_id": 2, "area": 2.5, "covered": 2}),
    ]
    images = [{"id": 3, "file_name": "c.jpg", "height": 4, "width": 5}]
    columns, listing = read_columns(written(tmp_path, images=images, annotations=annotations))
    assert (columns.image_ids, columns.file_names) == ([3, 1, 2], ["3.png", "1.png", "2.png"])
    assert (columns.ids.tolist(), columns.ends.tolist()) == ([9, 4, 6], [2, 2, 3])
    assert columns.category_ids.tolist() == [2, 1, 2]
    assert columns.is_crowd.tolist() == [False, True, False]
    assert columns.covered.tolist() == [0, 0, 2]
    assert columns.labels({1: 0, 2: 5}, refused).tolist() == [5, 0, 5]
    with pytest.raises(DatasetError, match="^image 3, row 1$"):
        columns.labels({2: 5}, refused)
    assert listing.images() == {3: "c.jpg"}


def test_a_part_of_the_annotations(tmp_path: Path) -> None:
    """What is left out is not checked, and positions are those of the file."""
    annotations = [annotation(i, {"id": 1 + i, "category_id": 1}) for i in range(5)]
    path = written(tmp_path, annotations=[{}, *annotations, {}])
    columns, _ = read_columns(path, skip=2, limit=3)
    assert columns.image_ids == [1, 2, 3]
    assert columns.ids.tolist() == [2, 3, 4]
    with pytest.raises(DatasetError, match=r"annotations\[6\]: 'image_id' is missing"):
        read_columns(path, skip=2)
