"""The figures of an evaluation as tables in the terminal, with the rules that they stand on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from opsnet.evaluation.details import ORACLE_RULE
from opsnet.metrics.average_precision import INSTANCE_RULE
from opsnet.metrics.confusions import Confusion
from opsnet.metrics.semantic import SEMANTIC_RULE

ORACLE = "/oracle/"


def print_figures(
    metrics: Mapping[str, float], misses: Mapping[str, Sequence[Confusion]], console: Console | None = None
) -> None:
    """Prints a row a domain and setting, and tables of AP, oracles and confusions where there are some.

    Args:
        metrics: figures in percent by ``<domain>/<setting>/<measure>``.
        misses: the commonest confusions by ``<domain>/<setting>``.
        console: to print on.
    """
    console = console or Console()
    names = [key.removesuffix("/PQ") for key in metrics if key.endswith("/PQ") and ORACLE not in key]
    measures = ("PQ", "PQth", "PQst", "SQ", "RQ", "mIoU")
    console.print(_table("percent", SEMANTIC_RULE, names, measures, metrics))
    with_ap = [name for name in names if f"{name}/AP" in metrics]
    if with_ap:
        console.print(_table("instances, percent", INSTANCE_RULE, with_ap, ("AP", "AP50", "AP75"), metrics))
    ceilings = [key.removesuffix("/PQ") for key in metrics if key.endswith("/PQ") and ORACLE in key]
    if ceilings:
        measured = sorted({name.partition(ORACLE)[0] for name in ceilings}, key=names.index)
        rows = [row for name in measured for row in (name, *(c for c in ceilings if c.startswith(name + ORACLE)))]
        console.print(_table("oracles, percent", ORACLE_RULE, rows, measures[:-1], metrics))
    if any(misses.values()):
        console.print(_confusions(misses))


def _table(
    title: str, caption: str, names: Sequence[str], measures: Sequence[str], metrics: Mapping[str, float]
) -> Table:
    table = Table("setting", *measures, title=title, caption=caption)
    for name in names:
        table.add_row(name, *(f"{metrics.get(f'{name}/{m}', math.nan):.1f}" for m in measures))
    return table


def _confusions(misses: Mapping[str, Sequence[Confusion]]) -> Table:
    caption = (
        "true segments missed because a mask has another name, or because no mask covers them; share of the name's"
    )
    table = Table("setting", "truth", "taken for", "segments", "share", title="commonest misses", caption=caption)
    for name, rows in misses.items():
        for row in rows:
            table.add_row(name, row.truth, row.predicted, str(row.count), f"{row.share:.0%}")
    return table
