"""Panoptic quality of COCO panoptic predictions on disk, computed as by panopticapi, without importing torch."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from opsnet.data.panoptic_records import Category
from opsnet.evaluation.score_pair import score_pair
from opsnet.evaluation.scored_files import FilePairs, read_pairs
from opsnet.metrics.panoptic_averages import PanopticCounts, PanopticScores, Quality, summarise
from opsnet.utils.forks import can_fork, map_in_forks
from opsnet.utils.late_logging import warn

LEAST_PER_PROCESS = 50
"""Images; fewer are scored before a further process would be ready."""
CHUNK = 4
"""Images that are scored and summed together, however many processes there are: sums depend on their order.

Few, so that processes end at nearly the same time.
"""
KEPT_BYTES = 2**26 - 2**16
"""Memory that is kept for the next image; twice the largest block that glibc considers (32 MiB)."""


@dataclass(frozen=True)
class Score:
    """The result of :func:`score`.

    Attributes:
        result: PQ, SQ and RQ in percent; ``per_class`` in the order of ``categories``.
        categories: categories of the ground truth.
        images: number of scored images.
        boundary: Boundary PQ and its parts, if requested.
    """

    result: PanopticScores
    categories: tuple[Category, ...]
    images: int
    boundary: PanopticScores | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values: ``PQ``, ``PQth``, ``PQst``, ``SQ``, ``RQ``, ``images``, the three groups, and each class.

        ``boundary`` has the averages of Boundary PQ, if requested.
        """
        groups = {name.lower(): dataclasses.asdict(group) for name, group in self.groups()}
        boundary = {} if self.boundary is None else {"boundary": self.boundary.as_dict()}
        per_class = [
            {"id": category.id, "name": category.name, **dataclasses.asdict(quality)}
            for category, quality in zip(self.categories, self.result.per_class)
        ]
        return {**self.result.as_dict(), "images": self.images, **groups, **boundary, "per_class": per_class}

    def groups(self) -> tuple[tuple[str, Quality], ...]:
        """The three averages with their names, as panopticapi prints them."""
        return groups_of(self.result)


def groups_of(scores: PanopticScores) -> tuple[tuple[str, Quality], ...]:
    """The three averages with their names, as panopticapi prints them."""
    return ("All", scores.all), ("Things", scores.things), ("Stuff", scores.stuff)


def score(
    gt_json: str | Path,
    pred_json: str | Path,
    gt_dir: str | Path | None = None,
    pred_dir: str | Path | None = None,
    progress: bool = False,
    boundary: bool = False,
) -> Score:
    """Panoptic quality of predictions against ground truth, both in COCO's panoptic format.

    Images that only the prediction has are ignored, as in panopticapi. Where both files have ``images``, an id must be
    that of the same file in both.

    Args:
        gt_json: ``categories`` and ``annotations`` of the ground truth.
        pred_json: ``annotations`` of the prediction.
        gt_dir: folder of the ground truth's PNGs; ``None``: the json's path without ``.json``.
        pred_dir: folder of the prediction's PNGs, likewise.
        progress: show a progress bar on stderr.
        boundary: compute Boundary PQ too, see :mod:`opsnet.metrics.boundary`.

    Raises:
        DatasetError: a file is missing or malformed, or files contradict each other.
    """
    pairs = read_pairs(Path(gt_json), Path(pred_json), gt_dir, pred_dir)
    total = _ChunkScore.zeros(len(pairs.categories))
    for chunk in _score_chunks(pairs, boundary, progress):
        total += chunk
    if total.wrong_areas:
        warn(
            __name__,
            "%d segment areas in the ground truth's json differ from its PNGs; the json is used, as in panopticapi: %s",
            *(total.wrong_areas, total.example),
        )
    is_thing = [category.is_thing for category in pairs.categories]
    of_boundary = summarise(total.boundary, is_thing) if boundary else None
    return Score(summarise(total.counts, is_thing), pairs.categories, len(pairs), of_boundary)


@dataclass(frozen=True)
class _ChunkScore:
    """The result of some images.

    Attributes:
        counts: for PQ.
        boundary: for Boundary PQ; zeros unless requested.
        wrong_areas: number of segments whose area differs in the ground truth's json and PNG.
        example: describes the first of them.
    """

    counts: PanopticCounts
    boundary: PanopticCounts
    wrong_areas: int = 0
    example: str = ""

    @classmethod
    def zeros(cls, num_classes: int) -> _ChunkScore:
        return cls(PanopticCounts.zeros(num_classes), PanopticCounts.zeros(num_classes))

    def __add__(self, other: _ChunkScore) -> _ChunkScore:
        return _ChunkScore(
            self.counts + other.counts,
            self.boundary + other.boundary,
            self.wrong_areas + other.wrong_areas,
            self.example or other.example,
        )


def _score_chunks(pairs: FilePairs, boundary: bool, progress: bool) -> Iterable[_ChunkScore]:
    """The results, in order."""
    one, starts = partial(_score_chunk, pairs, boundary=boundary), range(0, len(pairs), CHUNK)
    # Not threads, which take longer than one: the work is a hundred small steps, which all need the interpreter.
    processes = min(os.cpu_count() or 1, len(pairs) // LEAST_PER_PROCESS) if can_fork() else 1
    _keep_freed_memory()
    results: Iterable[_ChunkScore]
    if processes < 2:
        results = map(one, starts)
    else:
        results = map_in_forks(one, starts, processes, fix="run the same command again", begin=_keep_freed_memory)
    if not progress:
        return results
    from rich.console import Console  # takes as long to import as 20 images to score
    from rich.progress import track

    return track(results, "scoring", len(starts), console=Console(stderr=True))


def _score_chunk(pairs: FilePairs, start: int, *, boundary: bool) -> _ChunkScore:
    num_classes = len(pairs.categories)
    total = _ChunkScore.zeros(num_classes)
    for number in range(start, min(start + CHUNK, len(pairs))):
        counts, wrong_areas, on_boundary = score_pair(*pairs[number], num_classes, boundary=boundary)
        on_boundary = on_boundary or PanopticCounts.zeros(num_classes)
        total += _ChunkScore(counts, on_boundary, len(wrong_areas), "".join(wrong_areas[:1]))
    return total


def _keep_freed_memory() -> None:
    """Stops glibc from returning each image's arrays to the system, which takes longer than counting their pixels.

    It keeps free memory up to twice the largest block freed so far (``M_MMAP_THRESHOLD`` in mallopt(3)).
    """
    np.empty(KEPT_BYTES // 2, np.uint8)
