"""Per-class results as rows of a csv."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from opsnet.metrics.average_precision import InstanceResult
from opsnet.metrics.confusions import ConfusionCounts
from opsnet.metrics.panoptic_averages import PanopticScores
from opsnet.metrics.semantic import PROPOSALS, SemanticResult
from opsnet.utils.files import atomic_path

Row = dict[str, str | int | float]


def class_rows(
    names: Sequence[str],
    panoptic: PanopticScores,
    semantic: SemanticResult | None = None,
    instances: InstanceResult | None = None,
    confusions: ConfusionCounts | None = None,
    semantic_proposals: SemanticResult | None = None,
    instances_proposals: InstanceResult | None = None,
    more: Mapping[str, Sequence[float]] | None = None,
) -> list[Row]:
    """One row per class, in the order of the vocabulary, with the columns of the given results.

    A class that does not occur keeps its row, with counts of 0.

    Args:
        names: the M class names.
        panoptic: PQ, SQ, RQ in percent, TP, FP, FN in segments.
        semantic: adds IoU and Acc in percent.
        instances: adds AP, AP50 and AP75 in percent.
        confusions: adds ``misnamed`` and ``unmasked``, whose sum is FN.
        semantic_proposals, instances_proposals: add the columns of ``semantic`` and ``instances`` with the suffix
            ``_proposals``.
        more: further columns of M values by heading.

    Raises:
        ValueError: the numbers of names and classes differ.
    """
    rows: list[Row] = [
        {"name": name, "kind": "thing" if c.is_thing else "stuff", "PQ": c.pq, "SQ": c.sq, "RQ": c.rq,
         "TP": c.tp, "FP": c.fp, "FN": c.fn}
        for name, c in zip(names, panoptic.per_class, strict=True)
    ]  # fmt: skip
    added_columns: list[list[Row]] = []
    for pixels, suffix in ((semantic, ""), (semantic_proposals, PROPOSALS)):
        if pixels:
            added_columns.append([{f"IoU{suffix}": c.iou, f"Acc{suffix}": c.acc} for c in pixels.per_class])
    for found, suffix in ((instances, ""), (instances_proposals, PROPOSALS)):
        if found:
            added_columns.append([
                {f"AP{suffix}": c.ap, f"AP50{suffix}": c.ap50, f"AP75{suffix}": c.ap75} for c in found.per_class
            ])  # fmt: skip
    if confusions:
        missed = zip(confusions.misnamed.tolist(), confusions.unmasked.tolist())
        added_columns.append([{"misnamed": misnamed, "unmasked": unmasked} for misnamed, unmasked in missed])
    for heading, values in (more or {}).items():
        added_columns.append([{heading: value} for value in values])
    for columns in added_columns:
        for row, added in zip(rows, columns, strict=True):
            row.update(added)
    return rows


def write_rows(path: Path | str, rows: Sequence[Row]) -> None:
    """Writes rows with equal columns as csv, atomically; nan becomes an empty cell, other floats have 4 digits.

    Raises:
        ValueError: there are no rows, or their columns differ.
    """
    if not rows:
        raise ValueError(f"there is no row to write to {path}")
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)


def _cell(value: str | int | float) -> str | int:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}"
    return value
