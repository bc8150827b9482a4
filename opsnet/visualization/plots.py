"""Plots of a run as PNG files: learning curves, and PQ over the grid of alpha and beta.

Figures are created without pyplot: no global state, no display, safe in worker processes.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from opsnet.metrics.results import FULL_CELL, grid
from opsnet.utils.files import atomic_path

_CURVES = {
    "train/loss": "loss",
    "train/cross_entropy": "cross-entropy",
    "train/mask_bce": "mask BCE",
    "train/dice": "dice",
    "train/iou": "IoU head (L2)",
    "learning_rate": "learning rate",
    "val/PQ": "validation PQ (%)",
}
_COLOURS = ("#1f5fa8", "#c8511b", "#3d8c40", "#7a4ea3")
_SMOOTHED_FROM = 60
"""Number of points above which a loss is also drawn as a moving average."""

Curve = tuple[np.ndarray, np.ndarray]
"""Steps and values, both (points,)."""


def save_figure(figure: Figure, out: Path) -> Path:
    """Writes ``figure`` as PNG, atomically."""
    FigureCanvasAgg(figure)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, format="png", dpi=120, facecolor="white")
    return out


def read_curves(path: Path) -> dict[str, Curve]:
    """Reads the plotted columns of a Lightning ``metrics.csv``, each with the rows in which it has a value."""
    points: dict[str, list[tuple[float, float]]] = {name: [] for name in _CURVES}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name in _CURVES:
                if row.get("step") and row.get(name):
                    points[name].append((float(row["step"]), float(row[name])))
    arrays = {name: np.asarray(found) for name, found in points.items() if found}
    return {name: (array[:, 0], array[:, 1]) for name, array in arrays.items()}


def learning_curves(csv_paths: Mapping[str, Path], out: Path) -> Path | None:
    """Plots losses, learning rate and validation PQ against the step, one line per run.

    Args:
        csv_paths: label -> a ``metrics.csv``; files that do not exist are skipped.
        out: PNG to write.

    Returns:
        ``out``, or ``None`` if there was nothing to plot.
    """
    runs = {label: read_curves(path) for label, path in csv_paths.items() if path.is_file()}
    drawn = [name for name in _CURVES if any(name in curves for curves in runs.values())]
    if not drawn:
        return None
    columns = min(4, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = Figure(figsize=(3.1 * columns, 2.5 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for name, ax in zip(drawn, axes, strict=False):
        _draw_curves(ax, name, {label: curves.get(name) for label, curves in runs.items()})
    for ax in axes[len(drawn) :]:
        ax.set_axis_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(runs), frameon=False)
    return save_figure(figure, out)


def _draw_curves(ax: Axes, name: str, curves: Mapping[str, Curve | None]) -> None:
    for index, (label, curve) in enumerate(curves.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        steps, values = curve if curve is not None else (np.empty(0), np.empty(0))
        if name.startswith("train/") and len(values) >= _SMOOTHED_FROM:
            ax.plot(steps, values, color=colour, alpha=0.2, linewidth=0.7)
            steps, values = moving_average(steps, len(values) // 30), moving_average(values, len(values) // 30)
        marker = "o" if len(values) < 20 else ""
        ax.plot(steps, values, color=colour, linewidth=1.5, marker=marker, markersize=3, label=label)
    ax.set_title(_CURVES[name], fontsize=10)
    ax.set_xlabel("step", fontsize=8)
    ax.tick_params(labelsize=8)
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)


def moving_average(values: np.ndarray, width: int) -> np.ndarray:
    """Mean of each ``width`` neighbouring values: (points,) -> (points - width + 1,)."""
    return np.convolve(values, np.full(width, 1 / width), mode="valid")


def alpha_beta_heatmap(metrics: Mapping[str, float], domains: Sequence[str], out: Path) -> Path | None:
    """Plots PQ of each (alpha, beta) as a heat map, with frames around the best cell and the paper's (10, 0.5).

    Args:
        metrics: the metrics of a ``results.json``.
        domains: PQ is averaged over these.
        out: PNG to write.

    Returns:
        ``out``, or ``None`` if no cell of the grid was evaluated.
    """
    cells = grid(metrics, domains)
    if not cells:
        return None
    alphas, betas = ({cell[axis] for cell in cells} for axis in (0, 1))
    figure = Figure(figsize=(1.1 * len(betas) + 1.6, 0.62 * len(alphas) + 1.7), layout="constrained")
    draw_grid(figure.subplots(), cells, "PQ (%), mean of " + " and ".join(domains))
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return save_figure(figure, out)


def draw_grid(ax: Axes, cells: Mapping[tuple[float, float], float], title: str) -> None:
    """Draws PQ in percent of each (alpha, beta), with frames around the best cell and the paper's."""
    alphas, betas = sorted({a for a, _ in cells}), sorted({b for _, b in cells})
    values = np.array([[cells.get((a, b), np.nan) for b in betas] for a in alphas])
    ax.imshow(values, cmap="YlGnBu", aspect="auto")
    _annotate(ax, values)
    ax.set_xticks(range(len(betas)), [f"{b:g}" for b in betas])
    ax.set_yticks(range(len(alphas)), [f"{a:g}" for a in alphas])
    ax.set_xlabel("beta (logits debiasing)")
    ax.set_ylabel("alpha (embedding fusion)")
    ax.set_title(title, fontsize=10)
    _frame(ax, max(cells, key=cells.__getitem__), alphas, betas, colour="#e0301e", dashed=False, label="best")
    if FULL_CELL in cells:
        _frame(ax, FULL_CELL, alphas, betas, colour="#ff9800", dashed=True, label="the paper's (10, 0.5)")


def _annotate(ax: Axes, values: np.ndarray) -> None:
    """Writes each cell's PQ, in white on dark (high) cells and black on the others."""
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            ax.text(column, row, f"{value:.1f}", ha="center", va="center", color="white" if value > middle else "black")


def _frame(
    ax: Axes,
    cell: tuple[float, float],
    alphas: Sequence[float],
    betas: Sequence[float],
    *,
    colour: str,
    dashed: bool,
    label: str,
) -> None:
    """Draws a frame around one cell; the dashed one is smaller, so that both are visible on the same cell."""
    inset = 0.09 if dashed else 0.02
    corner = (betas.index(cell[1]) - 0.5 + inset, alphas.index(cell[0]) - 0.5 + inset)
    size = 1 - 2 * inset
    style = (0, (3, 2)) if dashed else "solid"
    ax.add_patch(
        Rectangle(corner, size, size, fill=False, edgecolor=colour, linewidth=2.5, linestyle=style, label=label)
    )
