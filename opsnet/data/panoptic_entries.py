"""The annotations of a panoptic set, mapped to the labels of a vocabulary and stored compactly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opsnet.data.packed import PackedRecords
from opsnet.data.panoptic_columns import PanopticColumns, read_columns
from opsnet.data.panoptic_records import Category, ImageId
from opsnet.utils.errors import DatasetError
from opsnet.vocabulary import Vocabulary


@dataclass(frozen=True)
class Entry:
    """One image of the json. ``segments``: (S, 4) int64 rows of id, label, is-crowd, covered, sorted by id.

    ``covered`` is the number of pixels that belong to a segment's area although the PNG shows another segment (ADE20K).
    """

    image_id: int | str
    image: str
    png: str
    segments: NDArray[np.int64]


class Entries(Sequence[Entry]):
    """Entries in the order of the json, in memory that is shared with worker processes.

    Args:
        columns: the annotations.
        names: file of each annotation's image.
        labels: (S,) of the segments.
    """

    def __init__(self, columns: PanopticColumns, names: Iterable[str], labels: NDArray[np.int32]) -> None:
        self._files = PackedRecords(zip(columns.image_ids, names, columns.file_names))
        self._ends = columns.ends
        self._segments = np.stack([columns.ids, labels, columns.is_crowd, columns.covered], axis=1, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Entry:  # type: ignore[override]
        index = range(len(self))[index]
        rows = self._segments[self._ends[index - 1] if index else 0 : self._ends[index]]
        image_id, image, png = self._files[index]
        return Entry(image_id, image, png, rows[np.argsort(rows[:, 0])])


def read_entries(path: Path, vocabulary: Vocabulary, limit: int | None, skip: int = 0) -> Entries:
    """Reads the json's annotations after the first ``skip``, at most ``limit`` of them.

    Raises:
        DatasetError: the json is malformed, or contradicts itself or the vocabulary.
    """
    if not path.is_file():
        raise DatasetError(f"panoptic json {path} does not exist: {_how_to_get(path)}check `annotations`")
    columns, listing = read_columns(path, skip=skip, limit=limit)
    names = listing.images()
    for category in listing.categories() if "categories" in listing else ():
        if problem := kind_conflict(category, vocabulary):
            raise DatasetError(f"{path}: category {category.id} ('{category.name}') {problem}")
    for image_id in columns.image_ids:
        if image_id not in names:
            raise DatasetError(f"{path} annotates image {image_id}, which is not in its `images`: add it or drop both")
    if not len(columns):
        raise DatasetError(
            f"{path} has no annotations{f' after the first {skip}' if skip else ''}: check `annotations`"
        )

    def refuse(image_id: ImageId, row: int) -> DatasetError:
        return DatasetError(
            f"image {image_id} of {path} has category_id {columns.category_ids[row]}, which vocabulary "
            f"'{vocabulary.name}' lacks: add the category to it, or set `vocabulary` to this dataset's"
        )

    labels = columns.labels(vocabulary.index_of_id, refuse)
    return Entries(columns, (names[image_id] for image_id in columns.image_ids), labels)


def _how_to_get(path: Path) -> str:
    """How to get the json of a dataset, by the name that its configuration gives it."""
    preparations = resources.files("opsnet.preparation").iterdir()
    for name in sorted((Path(file.name).stem for file in preparations), key=len, reverse=True):
        if path.name.startswith(f"{name}_"):
            return f"make it by opsnet-prepare {name} FOLDER (docs/datasets.md), or "
    if path.name.endswith(("2017.json", "2018.json")):
        return "unpack the dataset there as distributed (docs/datasets.md), or "
    if path.name.startswith("panoptic_") and path.parent.name != "annotations":
        return f"make it by opsnet-prepare own ... set={path.stem.removeprefix('panoptic_')} (docs/datasets.md), or "
    return ""


def kind_conflict(category: Category, vocabulary: Vocabulary) -> str | None:
    """Describes the conflict if a category is a thing but stuff in the vocabulary, or the reverse; else ``None``.

    Ids of different datasets overlap, so ids alone do not reveal that a set is used with another's vocabulary.
    """
    label = vocabulary.index_of_id.get(category.id)
    if label is None or category.is_thing == vocabulary.is_thing[label]:
        return None
    return (
        f"has isthing {int(category.is_thing)}, but is '{vocabulary.names[label]}', isthing "
        f"{int(vocabulary.is_thing[label])}, in vocabulary '{vocabulary.name}': set `vocabulary` to this set's"
    )
