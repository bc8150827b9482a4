"""Reports on a vocabulary: tables in the terminal, all rows as CSV, and the paper's Figure 4 as PNG."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from opsnet.recognition.vocabulary_fit import VocabularyFit
from opsnet.utils.files import atomic_path
from opsnet.visualization.similarity_plot import similarity_histogram
from opsnet.vocabulary import Vocabulary

SHOWN = 25  # rows of a table in the terminal


def report_vocabulary(fit: VocabularyFit, target: Vocabulary, train: Vocabulary, cut: list[str], out: Path) -> None:
    """Prints the fit; writes ``vocabulary.csv`` and ``similarity.png``.

    Args:
        fit: the comparison of ``target`` with ``train``.
        target, train: the two vocabularies.
        cut: names that CLIP truncates.
        out: folder to write to.
    """
    _write(fit, out / "vocabulary.csv")
    similarity_histogram([c.cosine for c in fit.concepts], target.name, train.name, out / "similarity.png")
    _print(fit, target, train, cut, out)


def _write(fit: VocabularyFit, out: Path) -> None:
    with atomic_path(out) as path, path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("name", "nearest training name", "cosine", "debias factor"))
        rows.writerows((c.name, c.nearest, f"{c.cosine:.4f}", f"{c.factor:.4f}") for c in fit.concepts)


def _print(fit: VocabularyFit, target: Vocabulary, train: Vocabulary, cut: list[str], out: Path) -> None:
    console = Console()
    console.print(
        f"[bold]{escape(target.name)}[/bold] ({len(target)} concepts) and {escape(train.name)} ({len(train)}): "
        f"s = {fit.similarity:.3f}, alpha (1 - s) = {fit.strength:.2f}"
    )
    farthest = sorted(fit.concepts, key=lambda c: c.cosine)
    table = _table(f"Least similar to the training names ({min(SHOWN, len(farthest))} of {len(farthest)})", "name")
    for column in ("nearest training name", "cosine", "debias factor"):
        table.add_column(column, justify="left" if column.startswith("nearest") else "right")
    for c in farthest[:SHOWN]:
        table.add_row(escape(c.name), escape(c.nearest), f"{c.cosine:.3f}", f"{c.factor:.3f}")
    console.print(table)
    if fit.look_alikes:
        table = _table(
            f"Look-alikes ({len(fit.look_alikes)} pairs): CLIP can hardly distinguish them", "name", "name", "cosine"
        )
        for a, b, cosine in fit.look_alikes[:SHOWN]:
            table.add_row(escape(a), escape(b), f"{cosine:.3f}")
        console.print(table)
    for name in cut[:SHOWN]:
        console.print(f"[yellow]CLIP truncates[/yellow] '{escape(name)}': shorten it")
    if len(cut) > SHOWN:
        console.print(f"... and {len(cut) - SHOWN} more names")
    console.print(
        f"All concepts are in {out / 'vocabulary.csv'}, a histogram in {out / 'similarity.png'}", soft_wrap=True
    )


def _table(title: str, *columns: str) -> Any:
    return Table(*columns, title=title, title_justify="left")
