"""Similarity between target and training class names from stored text embeddings: s, alpha (1 - s) and extremes.

Usage: python -m scripts.paper.vector_similarity --train coco.npy coco.json --target ade.npy ade.json [--target ...]

Each ``.npy`` has one text embedding per row, not necessarily normalised; its ``.json`` the names of the rows. An
optional third file, a list of names, selects these rows. Compare files of the same CLIP and the same prompt templates.
Prints Markdown: ``seen`` is the fraction of names that are training names, ``unseen to training`` the mean cosine of
the others to their nearest training name; ``pairs`` and ``nearest`` are mean cosines among the names of a set.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from opsnet.recognition.modulation import EmbeddingModulation
from opsnet.recognition.vocabulary_fit import ConceptFit, VocabularyFit, vocabulary_fit
from opsnet.structures import TextBank
from opsnet.utils.errors import InputError, exit_on_user_error

SAME = 1 - 1e-5  # a higher cosine means the same name: in half precision it can be below 1 by up to 1e-6


def load_bank(vectors: Path, names: Path, rows: Path | None = None) -> TextBank:
    """A text bank from (R, D) vectors and a list of R names, optionally only of the names in ``rows``.

    Raises:
        InputError: a file cannot be read, vectors and names differ in number, or ``rows`` has an unknown name.
    """
    try:
        table, every = torch.from_numpy(np.load(vectors).astype(np.float64)), json.loads(names.read_text("utf-8"))
        wanted = every if rows is None else json.loads(rows.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read vectors and names: {error}") from error
    if table.ndim != 2 or len(every) != len(table):
        raise InputError(f"{vectors} has shape {tuple(table.shape)}, but {names} has {len(every)} names: one a row")
    position = {name: row for row, name in enumerate(every)}
    if missing := [name for name in wanted if name not in position]:
        raise InputError(f"{rows} asks for {missing[:3]}, which {names} lacks: give names as they are written there")
    embeds = F.normalize(table[[position[name] for name in wanted]], dim=-1).float()
    return TextBank(names.stem, tuple(wanted), torch.ones(len(wanted), dtype=torch.bool), embeds)


def spread(bank: TextBank) -> tuple[float, float]:
    """Mean cosine over all pairs of names, and of each name with the most similar other name."""
    cosines = (bank.embeds @ bank.embeds.T).double().fill_diagonal_(torch.nan)
    return float(cosines.nanmean()), float(cosines.nan_to_num(-1).amax(1).mean())


def summary(bank: TextBank, fit: VocabularyFit | None) -> str:
    """A row of the table; without a fit, the row of the training names."""
    values = ["-"] * 4
    if fit is not None:
        unseen = [c.cosine for c in fit.concepts if c.cosine < SAME]
        seen = f"{100 * (1 - len(unseen) / len(fit.concepts)):.0f} %"
        values = [f"{fit.similarity:.3f}", f"{fit.strength:.2f}", seen, f"{np.mean(unseen):.3f}" if unseen else "-"]
    return " | ".join((f"| {bank.name}", str(len(bank.names)), *values, *(f"{v:.3f}" for v in spread(bank)))) + " |"


def extremes(bank: TextBank, fit: VocabularyFit, count: int) -> str:
    """The unseen names most and least similar to the training names, each with its nearest training name."""
    ordered = sorted((c for c in fit.concepts if c.cosine < SAME), key=lambda c: -c.cosine)

    def text(concepts: Sequence[ConceptFit]) -> str:
        return ", ".join(f"{c.name} ({c.nearest} {c.cosine:.2f})" for c in concepts)

    return f"| {bank.name} | {text(ordered[:count])} | {text(ordered[::-1][:count])} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    files: dict[str, Any] = {"nargs": "+", "type": Path, "required": True, "metavar": "FILE"}
    parser.add_argument("--train", **files, help="VECTORS.npy NAMES.json [ROWS.json]")
    parser.add_argument("--target", **files, action="append", help="the same; may be repeated")
    parser.add_argument("--alpha", type=float, default=10.0)
    parser.add_argument("--count", type=int, default=5, help="names shown at each end")
    options = parser.parse_args(arguments)
    if any(len(group) not in (2, 3) for group in (options.train, *options.target)):
        parser.error("--train and --target take two files, VECTORS.npy NAMES.json, or three")
    with exit_on_user_error():
        train, targets = load_bank(*options.train), [load_bank(*group) for group in options.target]
    fits = [vocabulary_fit(bank, train, EmbeddingModulation(alpha=options.alpha)) for bank in targets]
    print(f"| target | names | s | {options.alpha:g} (1 - s) | seen | unseen to training | pairs | nearest |")
    print("| :--- |" + " ---: |" * 7)
    print(*(summary(bank, fit) for bank, fit in zip([train, *targets], [None, *fits], strict=True)), sep="\n")
    print("\n| target | nearest unseen (training name, cosine) | farthest |\n| :--- | :--- | :--- |")
    print(*(extremes(bank, fit, options.count) for bank, fit in zip(targets, fits, strict=True)), sep="\n")


if __name__ == "__main__":
    main()
