"""Prints a panoptic score in the terminal, as tables or json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from opsnet.evaluation.score import Score, groups_of
from opsnet.metrics.panoptic_averages import PanopticScores

if TYPE_CHECKING:
    from rich.table import Table  # imported where tables are printed: json needs none


def print_json(result: Score) -> None:
    """Prints the averages and every class as json on stdout."""
    print(json.dumps(result.as_dict(), indent=2))


def print_score(result: Score, per_class: bool = False) -> None:
    """Prints the averages, and with ``per_class`` every class that occurs, as tables on stdout."""
    from rich.console import Console

    console = Console()
    console.print(_group_table(f"Panoptic quality of {result.images} images (%)", result.result, ""))
    if result.boundary is not None:
        console.print(_group_table("The same with min(IoU, Boundary IoU) as IoU (%)", result.boundary, "B"))
    if per_class:
        console.print(_class_table(result))


def _group_table(title: str, scores: PanopticScores, prefix: str) -> Table:
    """The averages over all classes, things and stuff."""
    from rich.table import Table

    table = Table(title=title)
    table.add_column("")
    for name in ("PQ", "SQ", "RQ"):
        table.add_column(f"{prefix}{name}", justify="right")
    table.add_column("classes", justify="right")
    for name, group in groups_of(scores):
        table.add_row(name, *_percent(group.pq, group.sq, group.rq), str(group.n))
    return table


def _class_table(result: Score) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Classes that occur (%)")
    table.add_column("class")
    table.add_column("kind")
    for name in ("PQ", "SQ", "RQ", "TP", "FP", "FN"):
        table.add_column(name, justify="right")
    for category, quality in zip(result.categories, result.result.per_class):
        if quality.occurs:
            counts = (str(count) for count in (quality.tp, quality.fp, quality.fn))
            kind = "thing" if category.is_thing else "stuff"
            # Text, because rich would interpret brackets in a name as markup.
            table.add_row(Text(category.name), kind, *_percent(quality.pq, quality.sq, quality.rq), *counts)
    return table


def _percent(*values: float) -> list[str]:
    return [f"{value:.2f}" for value in values]
