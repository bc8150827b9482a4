"""Picks the best values of filter options from the evaluation of a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opsnet.inference.settings import Setting


@dataclass(frozen=True)
class BestCell:
    """The setting of a grid with the highest PQ; ties are broken by mIoU.

    Attributes:
        setting: its full name.
        threshold: threshold of its filter.
        overlap: the merge's overlap threshold; ``None``: the checkpoint's.
        PQ, mIoU: in percent.
        lowest: PQ of the worst cell, which shows how much the choice matters.
    """

    setting: str
    threshold: float
    overlap: float | None
    PQ: float
    mIoU: float
    lowest: float


def best_of_grid(
    settings: Sequence[Setting], metrics: Mapping[str, float], domains: Sequence[str]
) -> dict[str, dict[str, BestCell]]:
    """The best cell, by domain and by the setting from which the grid was made.

    Args:
        settings: settings of the evaluation, named as by :func:`opsnet.inference.settings.grid`.
        metrics: in percent, by ``<domain>/<setting>/<measure>``.
        domains: the evaluated domains.
    """
    best: dict[str, dict[str, BestCell]] = {}
    for domain in domains:
        cells: dict[str, list[BestCell]] = {}
        for s in settings:
            pq, miou = (metrics[f"{domain}/{s.name}/{measure}"] for measure in ("PQ", "mIoU"))
            cell = BestCell(s.name, s.filtering.threshold, s.overlap, pq, miou, pq)
            cells.setdefault(f"{s.recognition}/{s.filter.partition(',')[0]}", []).append(cell)
        best[domain] = {name: _best(group) for name, group in cells.items()}
    return best


def _best(cells: Sequence[BestCell]) -> BestCell:
    best = max(cells, key=lambda cell: (cell.PQ, cell.mIoU))
    return BestCell(best.setting, best.threshold, best.overlap, best.PQ, best.mIoU, min(cell.PQ for cell in cells))
