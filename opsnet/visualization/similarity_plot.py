"""A histogram of the similarity between the names of a vocabulary and the training names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from opsnet.visualization.plots import save_figure


def similarity_histogram(cosines: Sequence[float], target: str, train: str, out: Path) -> Path:
    """Plots a histogram of the cosines between target names and their nearest training names.

    Args:
        cosines: one per target name (M).
        target, train: names of the two vocabularies.
        out: the PNG to write.
    """
    values = np.asarray(cosines)
    low = min(0.5, float(np.floor(values.min() * 20) / 20))
    figure = Figure(figsize=(6.0, 3.4), layout="constrained")
    ax = figure.subplots()
    ax.hist(values, bins=np.linspace(low, 1.0, 26).tolist(), color="#1f5fa8", edgecolor="white", linewidth=0.5)
    ax.axvline(values.mean(), color="#c8511b", linewidth=1.5, label=f"mean, s = {values.mean():.3f}")
    ax.set_xlim(low, 1.0)
    ax.set_xlabel(f"cosine to the nearest name of {train}")
    ax.set_ylabel(f"names of {target}")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="upper left")
    return save_figure(figure, out)
