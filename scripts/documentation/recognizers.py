"""The figure of docs/recognizers.md: CLIP's share over the domain similarity s, and what debiasing does to a logit.

Usage: python -m scripts.documentation.recognizers [--out recognizers.png]

Both curves are measured on the recognizers themselves, with embeddings whose logits show the weights: the query
embedding points to one name, the CLIP embedding to another that is orthogonal to it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opsnet.recognition.modulation import ClipOnly, EmbeddingModulation, FixedEnsemble, QueryOnly
from opsnet.recognition.recognizer import PreparedNames, Recognizer
from opsnet.structures import Embeddings, TextBank
from opsnet.visualization.plots import save_figure

RECOGNIZERS: dict[str, Recognizer] = {
    "clip_only": ClipOnly(),
    "ensemble_4": FixedEnsemble(clip_weight=4),
    "ensemble_1": FixedEnsemble(clip_weight=1),
    "full, alpha = 10": EmbeddingModulation(alpha=10, beta=0),
    "full, alpha = 5": EmbeddingModulation(alpha=5, beta=0),
    "query_only": QueryOnly(),
}

DATASETS = {"LVIS": 0.832, "ADE20K": 0.920, "Cityscapes": 0.958, "Pascal Context": 0.983}
"""s for trainings on COCO; docs/vocabularies.md has their CLIPs and templates."""


def main(words: Sequence[str] | None = None) -> None:
    """Draws the figure and prints its path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("recognizers.png"), help="PNG to write, recognizers.png")
    options = parser.parse_args(words)
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_shares(left)
    draw_debiasing(right)
    print(f"Written: {save_figure(figure, options.out)}")


def logits(recognizer: Recognizer, *, similarity: float, nearest: float) -> tuple[float, float]:
    """The logits of the name that the query embedding points to, and of CLIP's, at a given s and cosine."""
    axes = torch.eye(2)
    bank = TextBank("axes", ("query's", "CLIP's"), torch.tensor([True, True]), axes)
    names = PreparedNames(bank, bank, torch.full((2,), nearest), torch.tensor(similarity))
    found, _ = recognizer(Embeddings(axes[:1, None], axes[1:, None]), names, torch.tensor([0.0, 1.0]))
    return float(found[0, 0, 0]), float(found[0, 0, 1])


def clip_share(recognizer: Recognizer, similarity: float) -> float:
    """CLIP's part of the fused embedding, in 0..1."""
    query, clip = logits(recognizer, similarity=similarity, nearest=1.0)
    return clip / (query + clip)


def debiasing_factor(beta: float, nearest: float) -> float:
    """By which debiasing multiplies the logit of a name whose cosine to the nearest training name is ``nearest``."""
    debiased, _ = logits(EmbeddingModulation(alpha=0, beta=beta), similarity=0.9, nearest=nearest)
    return debiased / logits(QueryOnly(), similarity=0.9, nearest=nearest)[0]


def draw_shares(ax: Axes) -> None:
    """CLIP's share over s, and where datasets lie."""
    at = np.linspace(0.7, 1, 121)
    for name, recognizer in RECOGNIZERS.items():
        ax.plot(at, [100 * clip_share(recognizer, s) for s in at], label=name, lw=2.5 if "10" in name else 1.3)
    for name, s in DATASETS.items():
        ax.axvline(s, color="0.75", lw=0.8, zorder=0)
        ax.text(s, 4, name, rotation=90, ha="right", va="bottom", fontsize=7, color="0.4")
    ax.set(xlabel="domain similarity s", ylabel="CLIP's share of the embedding (%)", title="Embedding Fusion")
    ax.legend(fontsize=7, loc="lower left")


def draw_debiasing(ax: Axes) -> None:
    """The factor of a logit over the cosine to the nearest training name."""
    at = np.linspace(0.6, 1, 81)
    for beta in (0.25, 0.5, 1.0):
        ax.plot(at, [debiasing_factor(beta, h) for h in at], label=f"beta = {beta}", lw=2.5 if beta == 0.5 else 1.3)
    ax.set(xlabel="cosine to the nearest training name", ylabel="factor of the logit", title="Logits Debiasing")
    ax.legend(fontsize=7)


if __name__ == "__main__":
    main()
