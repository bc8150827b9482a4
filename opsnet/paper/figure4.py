"""The paper's Figure 4: similarity between the classes of a vocabulary, by prototypes or text embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from opsnet.visualization.plots import save_figure


def pairwise_cosines(rows: np.ndarray) -> np.ndarray:
    """Cosines of all pairs of different rows: (M, D) -> (M (M - 1) / 2,)."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return (unit @ unit.T)[np.triu_indices(len(rows), 1)]


def cosine_histograms(panels: Sequence[tuple[str, np.ndarray]], out: Path, *, columns: int) -> Path:
    """Plots one histogram per panel: the cosines of all pairs of its classes.

    Args:
        panels: title and rows (M, D): trained prototypes, or text embeddings.
        out: the PNG to write.
        columns: panels per row.
    """
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.5 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True).flatten()
    cosines = [pairwise_cosines(rows) for _, rows in panels]
    low = min(-0.2, *(float(c.min()) for c in cosines))
    for ax, (title, _), values in zip(axes, panels, cosines, strict=False):
        ax.hist(values, bins=np.linspace(low, 1.0, 61).tolist(), density=True, color="#1f5fa8")
        ax.axvline(values.mean(), color="#c8511b", linewidth=1.2, label=f"mean {values.mean():.2f}")
        ax.set_title(title, fontsize=10)
        ax.set_yticks([])
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.legend(frameon=False, fontsize=8, loc="upper left")
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    figure.supxlabel("cosine between two classes", fontsize=9)
    return save_figure(figure, out)
