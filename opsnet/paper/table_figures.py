"""Figures for the tables: PQ against the ratio of the ensemble (Table 4), PQ over alpha and beta (Table 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from opsnet.metrics.results import GRID_CELL
from opsnet.paper.comparison import ComparedMetric, Comparison
from opsnet.paper.tables import SETS
from opsnet.paper.worlds import World
from opsnet.visualization.plots import draw_grid, save_figure

_RATIOS = {"query_only": 0, **{f"ensemble_{n}": n for n in (1, 2, 3, 4)}}
_LEVELS = {"clip_only": ("CLIP alone", "dotted", "#c8511b"), "full": ("OPSNet, EF + LD", "dashed", "#3d8c40")}


def ensemble_ratios(comparisons: Sequence[Comparison], world: World, out: Path) -> Path | None:
    """Table 4: PQ against the number of CLIP embeddings added to the query embedding, the paper's next to ours.

    Args:
        comparisons: the rows of Table 4.
        world: the world of our results.
        out: PNG to write.

    Returns:
        ``out``, or ``None`` if no row was run.
    """
    if all(c.run is None for c in comparisons):
        return None
    sets = ("coco", "ade20k")
    drawing = Drawing(figsize=(4.2 * len(sets), 6.2), layout="constrained")
    axes = drawing.subplots(2, len(sets), squeeze=False)
    for column, paper_set in enumerate(sets):
        _ratio(axes[0][column], comparisons, paper_set, f"the paper: {SETS[paper_set]}", lambda f: f.paper)
        _ratio(axes[1][column], comparisons, paper_set, f"ours: {world.domain(paper_set)}", lambda f: f.ours)
    drawing.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return save_figure(drawing, out)


def _ratio(
    ax: Axes,
    comparisons: Sequence[Comparison],
    paper_set: str,
    title: str,
    value: Callable[[ComparedMetric], float | None],
) -> None:
    values: dict[str, float] = {}
    for c in comparisons:
        metric = c.metric(paper_set, "PQ")
        if metric is not None and (pq := value(metric)) is not None:
            values[c.row.measured_as.partition("/")[0]] = pq
    points = [(ratio, values[name]) for name, ratio in _RATIOS.items() if name in values]
    ax.plot([x for x, _ in points], [y for _, y in points], "o-", color="#1f5fa8", label="Query + n CLIP")
    for name, (label, style, colour) in _LEVELS.items():
        if name in values:
            ax.axhline(values[name], linestyle=style, color=colour, label=label)
    ax.set_title(title, fontsize=10)
    ax.set_xlabel("n, number of CLIP embeddings added to the query embedding", fontsize=9)
    ax.set_ylabel("PQ (%)", fontsize=9)
    ax.set_xticks(range(5))
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)


def alpha_beta_pair(comparisons: Sequence[Comparison], world: World, out: Path) -> Path | None:
    """Table 6: the paper's grid and ours as heat maps, each with its own colour scale.

    Returns:
        ``out``, or ``None`` if no cell was run.
    """
    published, ours = _cells(comparisons, lambda f: f.paper), _cells(comparisons, lambda f: f.ours)
    if not ours:
        return None
    drawing = Drawing(figsize=(11.5, 4.2), layout="constrained")
    left, right = drawing.subplots(1, 2)
    draw_grid(left, published, "the paper: PQ (%) on ADE20K")
    draw_grid(right, ours, f"ours: PQ (%) on {world.domain('ade20k')}")
    drawing.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return save_figure(drawing, out)


def _cells(
    comparisons: Sequence[Comparison], value: Callable[[ComparedMetric], float | None]
) -> Mapping[tuple[float, float], float]:
    found = {}
    for c in comparisons:
        match, pq = GRID_CELL.match(c.row.measured_as), value(c.metrics[0])
        if match is not None and pq is not None:
            found[float(match["alpha"]), float(match["beta"])] = pq
    return found
