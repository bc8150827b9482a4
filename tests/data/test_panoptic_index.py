"""index_annotations: annotations as if read at once, in memory that hardly grows; a json that changes meanwhile."""

from __future__ import annotations

import gc
import json
import tracemalloc
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from opsnet.data import panoptic_index
from opsnet.data.coco_panoptic import PanopticJson
from opsnet.data.panoptic_index import PanopticIndex, index_annotations, seen_before
from opsnet.data.panoptic_records import parse_annotation
from opsnet.utils import json_stream
from opsnet.utils.errors import DatasetError


@pytest.fixture(autouse=True)
def every_json_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """So annotations are read again."""
    monkeypatch.setattr(panoptic_index, "LARGE_JSON", 0)


def annotation(image: int | str, *segments: int, name: str = "") -> dict[str, Any]:
    infos = [
        {"id": i, "category_id": 1 + i % 3, "area": 5 * i, "iscrowd": i % 2, "bbox": [0, 0, i, i]} for i in segments
    ]
    return {"image_id": image, "file_name": name or f"{image}.png", "segments_info": infos}


def written(folder: Path, style: dict[str, Any] | None = None, mark: bool = False, **lists: Any) -> Path:
    path = folder / "panoptic.json"
    text = json.dumps({"categories": [], "annotations": [], **lists}, **(style or {}))
    path.write_text(text, encoding="utf-8-sig" if mark else "utf-8", newline="")
    return path


@pytest.mark.parametrize("chunk", [1, 50, 2**18])
@pytest.mark.parametrize("style", [{}, {"indent": 1, "ensure_ascii": False}, {"separators": (",", ":")}])
@pytest.mark.parametrize("mark", [False, True])
def test_annotations_are_those_of_the_file(
    chunk: int, style: dict[str, Any], mark: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers and names as ids, letters of several bytes, which move what follows them, line ends of Windows."""
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    rng = Random(0)
    records = [
        annotation(i, *rng.sample(range(1, 99), i % 4), name="é€\U0001f600"[: i % 4] + f"{i}.png") for i in range(40)
    ]
    records += [annotation("Köln_3", 7), annotation("0012345", 8)]
    path = written(tmp_path, style, mark, note="ü", annotations=records)
    if "indent" in style:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    index = index_annotations(path)
    assert len(index) == len(records)
    for number in rng.sample(range(len(records)), len(records)):
        found, expected = index.annotation(number), parse_annotation(records[number])
        assert (found.image_id, found.file_name) == (expected.image_id, expected.file_name)
        assert list(zip(*found.segments)) == list(expected.segments)
    assert index.annotation(41).image_id == 12345


def test_where_a_category_comes_first(tmp_path: Path) -> None:
    index = index_annotations(written(tmp_path, annotations=[annotation(5), annotation(3, 1, 4), annotation(4, 2, 1)]))
    assert index.first_with == {2: 1, 3: 2}


def test_names_of_images(tmp_path: Path) -> None:
    images = [{"id": 3, "file_name": "a/c.jpg", "height": 4}, {"id": "x", "file_name": "d.png"}]
    index = index_annotations(written(tmp_path, images=images))
    assert index.names is not None
    assert index.names.keys.tolist() == [3, hash("x")]
    assert index.names.stems.tolist() == [hash("c"), hash("d")]
    assert [tuple(index.image(number)) for number in (0, 1)] == [(3, "a/c.jpg"), ("x", "d.png")]


@pytest.mark.parametrize(
    "images", [3, {}, [3], [{"id": 1}], [{"id": 1, "file_name": "a"}] * 2, [{"id": 1, "file_name": ".."}]]
)
def test_a_wrong_list_of_images_is_not_used(images: Any, tmp_path: Path) -> None:
    """panopticapi does not read it."""
    assert index_annotations(written(tmp_path, images=images)).names is None
    assert index_annotations(written(tmp_path, annotations=[])).names is None


def test_of_a_key_given_twice_the_last_counts(tmp_path: Path) -> None:
    path = tmp_path / "panoptic.json"
    lists = [f'"annotations": {json.dumps([annotation(i, i) for i in images])}' for images in ((1, 2), (3,))]
    names = ['"images": [{"id": 1, "file_name": "a"}]', '"images": [{"id": 2, "file_name": "b"}]']
    path.write_text("{" + ", ".join([*names, *lists]) + "}")
    index = index_annotations(path)
    assert [index.annotation(number).image_id for number in range(len(index))] == [3]
    assert index.names is not None and index.names.keys.tolist() == [2]
    assert index.image(0).file_name == "b"
    assert set(index.first_with) == {1}


def test_an_image_twice(tmp_path: Path) -> None:
    """The first repetition is named; a prediction may have it. -1 and -2 have the same hash in Python."""
    path = written(tmp_path, annotations=[annotation(i, 1) for i in (-1, -2, 8, 7, 8, 7)])
    with pytest.raises(
        DatasetError, match=r"annotations\[4\] \(image 8\): annotates image 8 twice: remove one of the two$"
    ):
        index_annotations(path)
    assert seen_before(index_annotations(path, predicted=True).keys).tolist() == [4, 5]
    assert seen_before(np.array([], np.int64)).tolist() == []


def rewritten(index: PanopticIndex, old: str, new: str) -> None:
    index.path.write_text(index.path.read_text().replace(old, new))


CHANGES = {
    "removed": lambda index: index.path.unlink(),
    "cut": lambda index: index.path.write_bytes(index.path.read_bytes()[: int(index.starts[1]) + 9]),
    "moved": lambda index: rewritten(index, "{", "{  "),
    "another image": lambda index: rewritten(index, '"image_id": 2', '"image_id": 7'),
    "another category": lambda index: rewritten(index, '"category_id": 1', '"category_id": 9'),
    "another segment": lambda index: rewritten(index, '"id": 3', '"id": 4'),
    "another area": lambda index: rewritten(index, '"area": 15', '"area": 16'),
    "another name": lambda index: rewritten(index, '"2.png"', '"3.png"'),
    "invalid": lambda index: rewritten(index, '"area": 15', '"area": -5'),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_json_that_changes_meanwhile_is_one_sentence(name: str, tmp_path: Path) -> None:
    records = [annotation(1), annotation(2, 3, *range(100, 900)), annotation(3)]
    index = index_annotations(written(tmp_path, annotations=records))
    assert len(index.annotation(1).segments.ids) == 801
    CHANGES[name](index)
    with pytest.raises(
        DatasetError, match=r"panoptic\.json was changed while it was read: run the same command again$"
    ):
        index.annotation(1)


def test_of_a_small_json_annotations_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [annotation(1, 2, 3), annotation("x"), annotation(2, 5)]
    path = written(tmp_path, annotations=records)
    large = index_annotations(path)
    monkeypatch.setattr(panoptic_index, "LARGE_JSON", path.stat().st_size + 1)
    small = index_annotations(path)
    assert not large.kept
    assert [small.annotation(number) for number in range(3)] == [large.annotation(number) for number in range(3)]
    path.unlink()
    assert small.annotation(2).image_id == 2


@pytest.mark.parametrize("images", [[], 3, [3], [{"id": 4, "file_name": "a.jpg"}], [{"id": 3, "file_name": "b.jpg"}]])
def test_names_that_change_meanwhile_are_one_sentence(images: Any, tmp_path: Path) -> None:
    index = index_annotations(written(tmp_path, images=[{"id": 3, "file_name": "a.jpg"}]))
    assert index.image(0).file_name == "a.jpg"
    written(tmp_path, images=images)
    with pytest.raises(DatasetError, match="was changed while it was read: run the same command again$"):
        index.image(0)


def test_nesting_that_only_the_second_reading_refuses_is_no_change(tmp_path: Path) -> None:
    """It starts where more functions are active."""
    deepest = 0
    for depth in range(800, 1000):
        path = written(tmp_path, annotations=[{**annotation(1, 1), "x": json.loads("[" * depth + "]" * depth)}])
        try:
            index, deepest = index_annotations(path), depth
        except DatasetError:
            break
    assert deepest > 800

    def deeper(functions: int) -> Any:
        return deeper(functions - 1) if functions else index.annotation(0)

    with pytest.raises(DatasetError, match=r"panoptic\.json is nested too deeply: replace the file$"):
        deeper(100)


def held(path: Path) -> int:
    """Bytes that an index keeps."""
    index_annotations(path)  # what is imported and cached once
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    index = index_annotations(path)
    gc.collect()  # tuples that Python keeps for reuse
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(index) > 0
    return after - before


def test_few_bytes_are_kept_of_an_image(tmp_path: Path) -> None:
    """48, and no more if it has more segments; the json as Python's objects takes some thousands."""
    kept = []
    for images, segments in ((100, 10), (1100, 10), (1100, 20)):
        records = [annotation(i, *range(1, 1 + segments)) for i in range(images)]
        files = [{"id": i, "file_name": f"{i:012d}.jpg", "height": 480, "width": 640} for i in range(images)]
        kept.append(held(written(tmp_path, annotations=records, images=files)))
    few, many, larger = kept
    assert (many - few) / 1000 == pytest.approx(48, abs=2)
    assert larger == pytest.approx(many, abs=2000)


def test_the_listing_has_the_categories(tmp_path: Path) -> None:
    categories = [{"id": 4, "name": "cat", "isthing": 1}]
    path = written(tmp_path, categories=categories, annotations=[annotation(1)])
    assert index_annotations(path).listing.categories() == PanopticJson(path).categories()
