"""The measures of rankings: pure functions from a run's results to one number in PQ points.

Each public function returns a ``Measure`` or is one. A measure returns ``None`` if a required metric is missing. The
filter is Cls IoU unless a function states otherwise; over several domains, metrics are averaged.
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
    """``value`` in PQ points, and ``detail``: the underlying metrics as text."""

    value: float
    detail: str


Measure = Callable[[Results, Results | None], Measured | None]
"""Results of the full model and of the model without cross-attention (``None``: not trained) -> measurement."""


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
    """Largest difference of full and Query over PQ, PQth, PQst, SQ and RQ: with s = 1 both compute the same."""
    measures = ("PQ", "PQth", "PQst", "SQ", "RQ")
    full = _all([main.metric(IN_DOMAIN, "full", measure=m) for m in measures])
    query = _all([main.metric(IN_DOMAIN, "query_only", measure=m) for m in measures])
    if full is None or query is None:
        return None
    details = [f"{m} {f:.2f} {q:.2f}" for m, f, q in zip(measures, full, query, strict=True)]
    return Measured(max(abs(f - q) for f, q in zip(full, query, strict=True)), ", ".join(details))


def pooling_over_crops(domains: Sequence[str]) -> Measure:
    """Mask Pooling minus the better of cropping and masking."""

    def measure(main: Results, baseline: Results | None) -> Measured | None:
        crops = _all([main.mean(domains, "cropping"), main.mean(domains, "masking")])
        return _minus(main.mean(domains, "clip_only"), max(crops) if crops else None)

    return measure


def smallest_fall(main: Results, baseline: Results | None) -> Measured | None:
    """Smallest step down from Query + n CLIP to Query + (n + 1) CLIP in-domain; negative if PQ rises in a step."""
    values = _all([main.metric(IN_DOMAIN, name) for name in ENSEMBLES])
    if values is None:
        return None
    smallest = min(before - after for before, after in pairwise(values))
    return Measured(smallest, ", ".join(f"{v:.2f}" for v in values))


def behind_best_setting(domains: Sequence[str]) -> Measure:
    """Difference between the best setting of Table 4 and full (0 if full is the best)."""

    def measure(main: Results, baseline: Results | None) -> Measured | None:
        values = _all([main.mean(domains, name) for name in TABLE_4])
        if values is None:
            return None
        best, full = max(values), values[TABLE_4.index("full")]
        return Measured(best - full, f"{full:.2f}; best {best:.2f}, {TABLE_4[values.index(best)]}")

    return measure


def interior_lead(main: Results, baseline: Results | None) -> Measured | None:
    """Best interior cell of the grid minus its best border cell, out-of-domain; positive if the optimum is interior."""
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
    """Difference between the grid's best cell and the paper's (10, 0.5), out-of-domain."""
    cells = _full_grid(main)
    if cells is None or FULL_CELL not in cells:
        return None
    ours = cells[FULL_CELL]
    return Measured(max(cells.values()) - ours, f"{ours:.2f}; best {_best(cells)}")


def product_over_factors(domains: Sequence[str]) -> Measure:
    """Filter Cls IoU minus the better of Cls and IoU: the minimum over Query, CLIP and full."""

    def measure(main: Results, baseline: Results | None) -> Measured | None:
        gains: dict[str, float] = {}
        for recognition in ("query_only", "clip_only", "full"):
            values = _all([main.mean(domains, recognition, filtering) for filtering in ("cls_iou", "cls", "iou")])
            if values is None:
                return None
            gains[recognition] = values[0] - max(values[1:])
        return Measured(min(gains.values()), ", ".join(f"{name} {gain:+.2f}" for name, gain in gains.items()))

    return measure


def tuned_difference(domains: Sequence[str], left: str, right: str, metric: str = "PQ") -> Measure:
    """Fine-tuned model ``left`` minus fine-tuned model ``right``, both with Embedding Modulation."""

    def measure(main: Results, baseline: Results | None) -> Measured | None:
        values = [
            main.tuned[name].mean(domains, "full", measure=metric) if name in main.tuned else None
            for name in (left, right)
        ]
        return _minus(*values)

    return measure


def _minus(left: float | None, right: float | None) -> Measured | None:
    return None if left is None or right is None else Measured(left - right, f"{left:.2f} against {right:.2f}")


def _all(values: Sequence[float | None]) -> list[float] | None:
    """The values, or ``None`` if one is missing."""
    present = [value for value in values if value is not None]
    return present if len(present) == len(values) else None


def _full_grid(main: Results) -> dict[tuple[float, float], float] | None:
    """The out-of-domain grid, or ``None`` if cells are missing, since its border and interior would be undefined."""
    cells = grid(main.metrics, OUT_OF_DOMAIN)
    complete = len({alpha for alpha, _ in cells}) * len({beta for _, beta in cells})
    return cells if cells and len(cells) == complete else None


def _best(cells: dict[tuple[float, float], float]) -> str:
    alpha, beta = max(cells, key=cells.__getitem__)
    return f"{cells[alpha, beta]:.2f} at ({alpha:g}, {beta:g})"
