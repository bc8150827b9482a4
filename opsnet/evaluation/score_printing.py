"""Prints a panoptic score in the terminal, as tables or json."""

from __future__ import annotations

import json

from opsnet.evaluation.score import Score, groups_of
from opsnet.metrics.panoptic_averages import PanopticScores


def print_json(result: Score) -> None:
    """Prints the averages and every class as json on stdout."""
    print(json.dumps(result.as_dict(), indent=2))


def print_score(result: Score, per_class: bool = False) -> None:
    """Prints the averages, and with ``per_class`` every class that occurs, as tables on stdout."""
    print(f"Panoptic quality of {result.images} images (%)")
    _print_groups(result.result, "")
    if result.boundary is not None:
        print("\nThe same with min(IoU, Boundary IoU) as IoU (%)")
        _print_groups(result.boundary, "B")
    if per_class:
        _print_classes(result)


def _print_groups(scores: PanopticScores, prefix: str) -> None:
    """The averages over all classes, things and stuff; plain text, because rich takes longer than scoring 20 images."""
    print(f"{'':8}", *(f"{prefix + name:>7}" for name in ("PQ", "SQ", "RQ")), f"{'classes':>8}")
    for name, group in groups_of(scores):
        print(f"{name:8}", *(f"{value:7.2f}" for value in (group.pq, group.sq, group.rq)), f"{group.n:8}")


def _print_classes(result: Score) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Classes that occur (%)")
    table.add_column("class")
    table.add_column("kind")
    for name in ("PQ", "SQ", "RQ", "TP", "FP", "FN"):
        table.add_column(name, justify="right")
    for category, quality in zip(result.categories, result.result.per_class):
        if quality.occurs:
            averages = (f"{value:.2f}" for value in (quality.pq, quality.sq, quality.rq))
            counts = (str(count) for count in (quality.tp, quality.fp, quality.fn))
            kind = "thing" if category.is_thing else "stuff"
            # Text, because rich would interpret brackets in a name as markup.
            table.add_row(Text(category.name), kind, *averages, *counts)
    Console().print(table)
