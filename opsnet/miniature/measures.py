"""What the orderings measure: pure functions from a run's figures to one number in PQ points.

Each public function answers with a ``Measure`` or is one. A measure answers ``None`` when a figure it needs is missing.
Figures are filtered by Cls IoU unless a function says otherwise; over several domains they are means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from opsnet.metrics.results import FULL_CELL, IN_DOMAIN, OUT_OF_DOMAIN, Results, grid

ENSEMBLES = tuple(f"ensemble_{n}" for n in (1, 2, 3, 4))
TABLE_4 = ("clip_only", "query_only", *ENSEMBLES, "fusion_only", "full")


@dataclass(frozen=True)
class Measured:
    """``value`` in PQ points, and ``detail``: the figures behind it as text."""

    value: float
    detail: str


Measure = Callable[[Results, Results | None], Measured | None]
"""Results of the full model and of the model without cross-attention (``None``: not trained) -> what was measured."""


def difference(
    domains: Sequence[str], left: str, right: str, filters: tuple[str, str] = ("cls_iou", "cls_iou")
) -> Measure:
    """Recognition ``left`` minus recognition ``right`` of the full model, each with its own filter."""

    def measure(main: Results, baseline: Results | None) -> Measured | None:
        return _minus(main.mean(domains, left, filters[0]), main.mean(domains, right, filters[1]))

    return measure


def cross_attention(domains: Sequence[str], recognition: str) -> Measure:
    """The model with cross-attention minus the model without."""

    def measure(main: Results, baseline: Results | None) -> Measured | None:
        return _minus(main.mean(domains, recognition), baseline.mean(domains, recognition) if baseline else None)

    return measure


def identical_in_domain(main: Results, baseline: Results | None) -> Measured | None:
    """Largest difference of full and Query over PQ, PQth, PQst, SQ and RQ: with s = 1 both are the same computation."""
    measures = ("PQ", "PQth", "PQst", "SQ", "RQ")
    full = _all([main.metric(IN_DOMAIN, "full", measure=m) for m in measures])
    query = _all([main.metric(IN_DOMAIN, "query_only", measure=m) for m in measures])
    if full is None or query is None:
        return None
    figures = [f"{m} {f:.2f} {q:.2f}" for m, f, q in zip(measures, full, query, strict=True)]
    return Measured(max(abs(f - q) for f, q in zip(full, query, strict=True)), ", ".join(figures))


def pooling_over_crops(domains: Sequence[str]) -> Measure:
    """Mask pooling minus the better of cropping and masking."""

    def measure(main: Results, baseline: Results | None) -> Measured | None:
        crops = _all([main.mean(domains, "cropping"), main.mean(domains, "masking")])
        return _minus(main.mean(domains, "clip_only"), max(crops) if crops else None)

    return measure


def smallest_fall(main: Results, baseline: Results | None) -> Measured | None:
    """Smallest step down from Query + n CLIP to Query + (n + 1) CLIP at home; negative where a step goes up."""
    values = _all([main.metric(IN_DOMAIN, name) for name in ENSEMBLES])
    if values is None:
        return None
    smallest = min(before - after for before, after in pairwise(values))
    return Measured(smallest, ", ".join(f"{v:.2f}" for v in values))


def behind_best_setting(domains: Sequence[str]) -> Measure:
    """How far full lies behind the best setting of Table 4 (0 when it is the best)."""

    def measure(main: Results, baseline: Results | None) -> Measured | None:
        values = _all([main.mean(domains, name) for name in TABLE_4])
        if values is None:
            return None
        best, full = max(values), values[TABLE_4.index("full")]
        return Measured(best - full, f"{full:.2f}; best {best:.2f}, {TABLE_4[values.index(best)]}")

    return measure


def interior_lead(main: Results, baseline: Results | None) -> Measured | None:
    """Best interior cell of the grid minus its best border cell, abroad; above 0 where the optimum is interior."""
    cells = _full_grid(main)
    if cells is None:
        return None
    edges = [{min(axis), max(axis)} for axis in zip(*cells, strict=True)]
    border = {cell for cell in cells if cell[0] in edges[0] or cell[1] in edges[1]}
    interior = cells.keys() - border
    if not interior:
        return None
    lead = max(cells[cell] for cell in interior) - max(cells[cell] for cell in border)
    return Measured(lead, f"best {_best(cells)}")


def behind_best_cell(main: Results, baseline: Results | None) -> Measured | None:
    """How far the paper's (10, 0.5) lies behind the grid's best cell, abroad."""
    cells = _full_grid(main)
    if cells is None or FULL_CELL not in cells:
        return None
    ours = cells[FULL_CELL]
    return Measured(max(cells.values()) - ours, f"{ours:.2f}; best {_best(cells)}")


def product_over_factors(domains: Sequence[str]) -> Measure:
    """Filter Cls IoU minus the better of Cls and IoU: the least over Query, CLIP and full."""

    def measure(main: Results, baseline: Results | None) -> Measured | None:
        gains: dict[str, float] = {}
        for recognition in ("query_only", "clip_only", "full"):
            values = _all([main.mean(domains, recognition, filtering) for filtering in ("cls_iou", "cls", "iou")])
            if values is None:
                return None
            gains[recognition] = values[0] - max(values[1:])
        return Measured(min(gains.values()), ", ".join(f"{name} {gain:+.2f}" for name, gain in gains.items()))

    return measure


def tuned_difference(domains: Sequence[str], left: str, right: str, figure: str = "PQ") -> Measure:
    """Fine-tuned model ``left`` minus fine-tuned model ``right``, both with Embedding Modulation."""

    def measure(main: Results, baseline: Results | None) -> Measured | None:
        values = [
            main.tuned[name].mean(domains, "full", measure=figure) if name in main.tuned else None
            for name in (left, right)
        ]
        return _minus(*values)

    return measure


def _minus(left: float | None, right: float | None) -> Measured | None:
    return None if left is None or right is None else Measured(left - right, f"{left:.2f} against {right:.2f}")


def _all(values: Sequence[float | None]) -> list[float] | None:
    """The values if none is missing."""
    present = [value for value in values if value is not None]
    return present if len(present) == len(values) else None


def _full_grid(main: Results) -> dict[tuple[float, float], float] | None:
    """The grid abroad, or ``None`` if it has holes: its border, and so its interior, would mean nothing."""
    cells = grid(main.metrics, OUT_OF_DOMAIN)
    complete = len({alpha for alpha, _ in cells}) * len({beta for _, beta in cells})
    return cells if cells and len(cells) == complete else None


def _best(cells: dict[tuple[float, float], float]) -> str:
    alpha, beta = max(cells, key=cells.__getitem__)
    return f"{cells[alpha, beta]:.2f} at ({alpha:g}, {beta:g})"
