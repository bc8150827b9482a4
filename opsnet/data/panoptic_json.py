"""What a COCO panoptic json says, checked, and kept in little memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from opsnet.data.packed import PackedRecords
from opsnet.errors import DatasetError
from opsnet.vocabulary import Vocabulary

T = TypeVar("T")
MAX_ID = 256**3  # ids from here on do not fit into an RGB PNG


@dataclass(frozen=True)
class Entry:
    """What the json says of an image. ``segments``: (S, 4) int64 rows of id, label, is-crowd, covered, by rising id.

    Covered are pixels that a segment's area counts although the PNG shows another segment there (ADE20K).
    """

    image_id: int | str
    image: str
    png: str
    segments: NDArray[np.int64]


class Entries(Sequence[Entry]):
    """Entries in the order of the json, in memory that worker processes share."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._records = PackedRecords((e.image_id, e.image, e.png, e.segments.tolist()) for e in entries)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Entry:  # type: ignore[override]
        image_id, image, png, segments = self._records[index]
        return Entry(image_id, image, png, np.array(segments, dtype=np.int64).reshape(-1, 4))


def read_entries(path: Path, vocabulary: Vocabulary, limit: int | None, skip: int = 0) -> Entries:
    """The json's annotations without the first ``skip``, or the first ``limit`` of these, checked by the vocabulary.

    Raises:
        DatasetError: the json contradicts itself or the vocabulary.
    """
    if not path.is_file():
        raise DatasetError(f"panoptic json {path} does not exist: check `annotations`")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        names = {image_id_of(image["id"]): str(image["file_name"]) for image in data["images"]}
        _check_kinds(path, data.get("categories", []), vocabulary)
        records = data["annotations"][skip:][:limit]
        entries = [_read_entry(path, record, names, vocabulary) for record in records]
    except DatasetError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{path} is not a COCO panoptic json ({type(error).__name__}: {error}): it needs images[id, file_name] and "
            "annotations[image_id, file_name, segments_info[id, category_id]]"
        ) from error
    if not entries:
        raise DatasetError(
            f"{path} has no annotations{f' after the first {skip}' if skip else ''}: check `annotations`"
        )
    if twice := _repeated(entry.image_id for entry in entries):
        raise DatasetError(f"{path} annotates image {twice[0]} twice: remove one of its annotations")
    return Entries(entries)


def _read_entry(path: Path, record: dict[str, Any], names: dict[int | str, str], vocabulary: Vocabulary) -> Entry:
    image_id = image_id_of(record["image_id"])
    if image_id not in names:
        raise DatasetError(f"{path} annotates image {image_id}, which is not in its `images`: add it or drop both")
    rows = []
    for segment in record["segments_info"]:
        category = int(segment["category_id"])
        if category not in vocabulary.index_of_id:
            raise DatasetError(
                f"image {image_id} of {path} has category_id {category}, which vocabulary '{vocabulary.name}' lacks: "
                "add the category to it, or set `vocabulary` to the one of this data set"
            )
        crowd, covered = int(segment.get("iscrowd", 0)), int(segment.get("covered", 0))
        rows.append((int(segment["id"]), vocabulary.index_of_id[category], crowd, covered))
    for segment_id, *_ in rows:
        if not 0 < segment_id < MAX_ID:
            raise DatasetError(
                f"image {image_id} of {path} has segment id {segment_id}: ids must lie in 1..{MAX_ID - 1} (0 is void)"
            )
    if twice := _repeated(row[0] for row in rows):
        raise DatasetError(f"image {image_id} of {path} has segment id {twice[0]} twice: give each segment its own id")
    segments = np.array(sorted(rows), dtype=np.int64).reshape(-1, 4)
    return Entry(image_id, names[image_id], str(record["file_name"]), segments)


def image_id_of(value: int | str) -> int | str:
    """An image's id: COCO's are numbers, perhaps written as text; Cityscapes' are names."""
    return int(value) if isinstance(value, int) or value.isdigit() else value


def _check_kinds(path: Path, categories: list[dict[str, Any]], vocabulary: Vocabulary) -> None:
    """Things of the json must be things of the vocabulary: ids of two sets overlap, so ids alone would not tell."""
    for category in categories:
        label = vocabulary.index_of_id.get(int(category["id"]))
        if label is not None and "isthing" in category and bool(category["isthing"]) != vocabulary.is_thing[label]:
            raise DatasetError(
                f"category {category['id']} of {path} ('{category.get('name')}', isthing {category['isthing']}) is "
                f"'{vocabulary.names[label]}', isthing {int(vocabulary.is_thing[label])}, in vocabulary "
                f"'{vocabulary.name}': set `vocabulary` to the one of this data set"
            )


def _repeated(values: Iterable[T]) -> list[T]:
    """Values that occurred before, in order."""
    seen: set[T] = set()
    return [v for v in values if v in seen or seen.add(v)]  # type: ignore[func-returns-value]
