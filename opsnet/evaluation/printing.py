"""Prints the metrics of an evaluation as tables in the terminal, with the rules of scoring as captions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from opsnet.evaluation.details import ORACLE_RULE
from opsnet.evaluation.tuning import BestCell
from opsnet.metrics.average_precision import INSTANCE_RULE
from opsnet.metrics.boundary import BOUNDARY_RULE
from opsnet.metrics.confusions import Confusion
from opsnet.metrics.federated import FEDERATED_RULE
from opsnet.metrics.instances import RANKING_RULE
from opsnet.metrics.mask_classification import MASK_CLASSIFICATION_RULE
from opsnet.metrics.panoptic_averages import PANOPTIC_RULE
from opsnet.metrics.semantic import PROPOSALS, PROPOSALS_RULE, SEMANTIC_RULE
from opsnet.metrics.speed import SPEED_RULE
from opsnet.paper.rows import TableRow

ORACLE = "/oracle/"
_PIXELS, _INSTANCES = ("mIoU", "mIoU_occurring"), ("AP", "AP50", "AP75")
_FREQUENCIES = tuple(f"AP{group}{suffix}" for suffix in ("", PROPOSALS) for group in "rcf")
_DETAILS = (
    ("semantic maps, percent", PROPOSALS_RULE, f"mIoU{PROPOSALS}", (*_PIXELS, *(f"{m}{PROPOSALS}" for m in _PIXELS))),
    (
        "instances, percent", f"{INSTANCE_RULE}; {RANKING_RULE}", "AP",
        (*_INSTANCES, *(f"{m}{PROPOSALS}" for m in _INSTANCES)),
    ),
    ("instances by frequency of the class, percent", FEDERATED_RULE, "APf", _FREQUENCIES),
    ("boundaries, percent", BOUNDARY_RULE, "BPQ", ("BPQ", "BPQth", "BPQst", "BSQ", "BRQ", "mBIoU")),
    (
        "ground-truth masks, percent", MASK_CLASSIFICATION_RULE, "Acc1_masks",
        ("Acc1_masks", "Acc5_masks", "mAcc1_masks", "mAcc5_masks"),
    ),
)  # fmt: skip
"""Title, caption, measure without which a setting is left out, and measures of the tables of details."""
_COMPARED = ("PQ", "PQ_seen", "PQ_unseen", "mIoU")
_IF_COMPUTED = ("mIoU_proposals", "AP")
_COMPARISON_RULE = (
    "the network's own recognizer first; PQ_seen and PQ_unseen: classes whose names were and were not trained; "
    + SEMANTIC_RULE
)


def print_metrics(
    metrics: Mapping[str, float], misses: Mapping[str, Sequence[Confusion]], console: Console | None = None
) -> None:
    """Prints a row per domain and setting, and tables of mIoU and AP from proposals, oracles and confusions if any.

    Args:
        metrics: in percent, by ``<domain>/<setting>/<measure>``.
        misses: the most common confusions, by ``<domain>/<setting>``.
        console: the console to print on.
    """
    console = console or Console()
    names = [key.removesuffix("/PQ") for key in metrics if key.endswith("/PQ") and ORACLE not in key]
    measures = ("PQ", "PQth", "PQst", "SQ", "RQ", "mIoU")
    console.print(_table("percent", f"{PANOPTIC_RULE}; {SEMANTIC_RULE}", names, measures, metrics))
    for title, caption, first, of_table in _DETAILS:
        having = [name for name in names if f"{name}/{first}" in metrics]
        if having:
            console.print(_table(title, caption, having, of_table, metrics))
    bounds = [key.removesuffix("/PQ") for key in metrics if key.endswith("/PQ") and ORACLE in key]
    if bounds:
        console.print(_upper_bounds(names, bounds, measures[:-1], metrics))
    if any(misses.values()):
        console.print(_confusions(misses))


def print_speed(
    speed: Mapping[str, Mapping[str, float]], parameters: Mapping[str, int], console: Console | None = None
) -> None:
    """Prints images per second of each domain, and the number of parameters in millions; nothing without a network.

    Args:
        speed: by domain, see :class:`opsnet.metrics.speed.Speed`.
        parameters: see :func:`opsnet.evaluation.parameters.count_parameters`.
        console: the console to print on.
    """
    if not parameters:
        return
    numbers = ", ".join(f"{parameters[key] / 1e6:.2f}M {key}" for key in ("total", "trainable"))
    title = f"parameters: {numbers}; images per second"
    table = Table("domain", "network", "whole", "images", title=title, caption=SPEED_RULE)
    for domain, values in speed.items():
        rates = (f"{values[key]:.2f}" if key in values else "-" for key in ("network", "whole"))
        table.add_row(domain, *rates, f"{values['images']:g}")
    (console or Console()).print(table)


def print_comparison(metrics: Mapping[str, float], domains: Sequence[str], console: Console | None = None) -> None:
    """Prints a table per domain with a row per setting, for ``compare=recognizers``.

    Args:
        metrics: in percent, by ``<domain>/<setting>/<measure>``.
        domains: names of the domains.
        console: the console to print on.
    """
    console = console or Console()
    for domain in domains:
        keys = [k for k in metrics if k.startswith(f"{domain}/") and k.endswith("/PQ") and ORACLE not in k]
        names = [key.removesuffix("/PQ") for key in keys]
        more = [m for m in _IF_COMPUTED if any(f"{name}/{m}" in metrics for name in names)]
        caption = _COMPARISON_RULE if domain == domains[-1] else None
        table = Table("recognizer", *_COMPARED, *more, title=f"{domain}, percent", caption=caption)
        for name in names:
            values = (metrics.get(f"{name}/{m}", math.nan) for m in (*_COMPARED, *more))
            table.add_row(name.removeprefix(f"{domain}/"), *("-" if math.isnan(v) else f"{v:.1f}" for v in values))
        console.print(table)


def print_rows(
    rows: Sequence[TableRow], metrics: Mapping[str, float], domains: Sequence[str], console: Console | None = None
) -> None:
    """Prints each row of the paper's tables: PQ in each domain, mIoU for Table 8; nothing if there are no rows."""
    if not rows:
        return
    measures = {row.name: "mIoU" if row.table == 8 else "PQ" for row in rows}
    named = " and ".join(dict.fromkeys(measures.values()))
    table = Table("row", "of the paper", *domains, title=f"{named} of the rows, percent")
    for row in rows:
        names = [f"{domain}/{row.measured_as}/{measures[row.name]}" for domain in domains]
        table.add_row(row.name, row.title, *(f"{metrics.get(name, math.nan):.1f}" for name in names))
    (console or Console()).print(table)


def print_tuned(tuned: Mapping[str, Mapping[str, BestCell]], console: Console | None = None) -> None:
    """Prints the best cell of each grid, and how to use it; nothing if nothing was tuned."""
    if not tuned:
        return
    caption = "in training and prediction: filtering.threshold=, overlap=; in evaluation: the setting's name"
    table = Table("setting", "threshold", "overlap", "PQ", "worst PQ", "mIoU", title="best by PQ", caption=caption)
    for domain, cells in tuned.items():
        for name, best in cells.items():
            overlap = "the checkpoint's" if best.overlap is None else f"{best.overlap:g}"
            scores = (f"{value:.1f}" for value in (best.PQ, best.lowest, best.mIoU))
            table.add_row(f"{domain}/{name}", f"{best.threshold:g}", overlap, *scores)
    (console or Console()).print(table)


def _table(
    title: str, caption: str, names: Sequence[str], measures: Sequence[str], metrics: Mapping[str, float]
) -> Table:
    table = Table("setting", *measures, title=title, caption=caption)
    for name in names:
        table.add_row(name, *(f"{metrics.get(f'{name}/{m}', math.nan):.1f}" for m in measures))
    return table


def _upper_bounds(
    names: Sequence[str], bounds: Sequence[str], measures: Sequence[str], metrics: Mapping[str, float]
) -> Table:
    table = Table("setting", "oracle", *measures, title="oracles, percent", caption=ORACLE_RULE)
    for name in names:
        own = [bound for bound in bounds if bound.startswith(name + ORACLE)]
        for row in (name, *own) if own else ():
            values = (f"{metrics[f'{row}/{m}']:.1f}" for m in measures)
            table.add_row(name, row.partition(ORACLE)[2] or "none", *values)
    return table


def _confusions(misses: Mapping[str, Sequence[Confusion]]) -> Table:
    caption = (
        "ground-truth segments missed because a mask has another name or no mask covers them; share of all segments of "
        "the class"
    )
    table = Table(
        "setting", "ground truth", "predicted", "segments", "share", title="most common confusions", caption=caption
    )
    for name, rows in misses.items():
        for row in rows:
            table.add_row(name, row.truth, row.predicted, str(row.count), f"{row.share:.0%}")
    return table
