"""The best values of a filter's options, from one evaluation of a grid of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opsnet.inference.settings import Setting


@dataclass(frozen=True)
class BestCell:
    """The setting of a grid with the highest PQ, the higher mIoU among equals.

    Attributes:
        setting: its whole name.
        threshold: of its filter.
        overlap: of the merge; ``None``: the checkpoint's.
        PQ, mIoU: in percent.
        lowest: PQ of the worst cell, which says how much there was to choose.
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
    """The best cell by domain and by the setting that the grid was made of.

    Args:
        settings: of the evaluation, named as :func:`opsnet.inference.settings.grid` does.
        metrics: in percent by ``<domain>/<setting>/<measure>``.
        domains: that were evaluated.
    """
    found: dict[str, dict[str, BestCell]] = {}
    for domain in domains:
        cells: dict[str, list[BestCell]] = {}
        for s in settings:
            pq, miou = (metrics[f"{domain}/{s.name}/{measure}"] for measure in ("PQ", "mIoU"))
            cell = BestCell(s.name, s.filtering.threshold, s.overlap, pq, miou, pq)
            cells.setdefault(f"{s.recognition}/{s.filter.partition(',')[0]}", []).append(cell)
        found[domain] = {name: _best(group) for name, group in cells.items()}
    return found


def _best(cells: Sequence[BestCell]) -> BestCell:
    best = max(cells, key=lambda cell: (cell.PQ, cell.mIoU))
    return BestCell(best.setting, best.threshold, best.overlap, best.PQ, best.mIoU, min(cell.PQ for cell in cells))
