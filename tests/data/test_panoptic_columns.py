"""read_columns: annotations as columns, and those of the usual kind, which are read at once, as any other."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest

from opsnet.data import panoptic_columns
from opsnet.data.panoptic_columns import read_columns
from opsnet.data.panoptic_records import parse_annotation
from opsnet.utils.errors import DatasetError
from opsnet.utils.json_fields import FieldError

VALUES: dict[str, list[Any]] = {
    "id": [1, 0, -1, 2**24 - 1, 2**24, 2**60, 3.0, 3.5, True, "1", None],
    "category_id": [1, 0, -1, 2**24, 2.0, False, "cat", None],
    "iscrowd": [0, 1, 2, -1, True, 1.0, "0", None],
    "area": [1, 0, -5, 2**24, 2**53, 7.5, True, "9", None],
    "covered": [0, 4, -1, 2**24, 1.0, "2", None],
}
USUAL = {"id": 7, "category_id": 3, "iscrowd": 1, "area": 12}


def written(folder: Path, **lists: Any) -> Path:
    path = folder / "panoptic.json"
    path.write_text(json.dumps({"images": [], "categories": [], "annotations": [], **lists}))
    return path


def annotation(image: int, *segments: dict[str, Any]) -> dict[str, Any]:
    return {"image_id": image, "file_name": f"{image}.png", "segments_info": list(segments)}


def refused(image_id: int | str, row: int) -> DatasetError:
    return DatasetError(f"image {image_id}, row {row}")


def test_by_hand(tmp_path: Path) -> None:
    """A crowd without area, an image without segments, hidden pixels and an area of a polygon."""
    annotations = [
        annotation(3, {"id": 9, "category_id": 2, "area": 5}, {"id": 4, "category_id": 1, "iscrowd": 1}),
        annotation(1),
        annotation(2, {"id": 6, "category_id": 2, "area": 2.5, "covered": 2}),
    ]
    images = [{"id": 3, "file_name": "c.jpg", "height": 4, "width": 5}]
    columns, listing = read_columns(written(tmp_path, images=images, annotations=annotations))
    assert (columns.image_ids, columns.file_names) == ([3, 1, 2], ["3.png", "1.png", "2.png"])
    assert [columns.ids[columns.rows(image)].tolist() for image in range(len(columns))] == [[9, 4], [], [6]]
    assert columns.category_ids.tolist() == [2, 1, 2]
    assert columns.is_crowd.tolist() == [False, True, False]
    assert [None if math.isnan(area) else area for area in columns.areas] == [5, None, 2.5]
    assert columns.covered.tolist() == [0, 0, 2]
    assert columns.labels({1: 0, 2: 5}, refused).tolist() == [5, 0, 5]
    with pytest.raises(DatasetError, match="^image 3, row 1$"):
        columns.labels({2: 5}, refused)
    assert listing.images() == {3: "c.jpg"}


def test_of_a_prediction_only_ids_and_categories_are_read(tmp_path: Path) -> None:
    annotations = [annotation(1, {"id": 0, "category_id": 2, "area": "many", "iscrowd": 7}), annotation(1)]
    columns, _ = read_columns(written(tmp_path, annotations=annotations), predicted=True)
    assert (columns.ids.tolist(), columns.category_ids.tolist(), columns.ends.tolist()) == ([0], [2], [1, 1])
    assert columns.image_ids == [1, 1]
    assert (columns.is_crowd.tolist(), columns.covered.tolist()) == ([False], [0])
    assert math.isnan(columns.areas[0])


def test_a_part_of_the_annotations(tmp_path: Path) -> None:
    """What is left out is not checked, and positions are those of the file."""
    annotations = [annotation(i, {"id": 1 + i, "category_id": 1}) for i in range(5)]
    path = written(tmp_path, annotations=[{}, *annotations, {}])
    columns, _ = read_columns(path, skip=2, limit=3)
    assert columns.image_ids == [1, 2, 3]
    assert columns.ids.tolist() == [2, 3, 4]
    with pytest.raises(DatasetError, match=r"annotations\[6\]: 'image_id' is missing"):
        read_columns(path, skip=2)


def outcome(one: dict[str, Any], predicted: bool) -> object:
    adder = panoptic_columns._Annotations(predicted)
    try:
        adder.add(one)
    except FieldError as error:
        return str(error)
    return [[str(value) for value in column] for column in adder._columns]


@pytest.mark.parametrize("predicted", [False, True])
def test_the_usual_kind_is_read_as_any_other(predicted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = []
    for (first, given), (second, other) in itertools.product(VALUES.items(), repeat=2):
        for value, another in itertools.product(given, other):
            info = {**USUAL, first: value, second: another}
            for missing in (None, *USUAL):
                one = {key: v for key, v in info.items() if key != missing}
                records.append(annotation(1, {**USUAL, "id": 5}, one))
    usual = [outcome(record, predicted) for record in records]
    monkeypatch.setattr(panoptic_columns, "_plain", lambda *_: None)
    for record, found in zip(records, usual, strict=True):
        assert found == outcome(record, predicted), record
    assert {type(found) for found in usual} == {list, str}


@pytest.mark.parametrize("segments", [None, 3, "ids", {}, [3], ["ids"], [[]], [None]])
def test_segments_of_a_wrong_kind_are_refused_as_any(segments: Any, tmp_path: Path) -> None:
    record = {**annotation(1), "segments_info": segments}
    with pytest.raises(FieldError) as expected:
        parse_annotation(record)
    with pytest.raises(DatasetError) as found:
        read_columns(written(tmp_path, annotations=[record]))
    assert str(found.value) == f"{tmp_path / 'panoptic.json'}: annotations[0] (image 1): {expected.value}"
