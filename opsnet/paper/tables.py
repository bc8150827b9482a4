"""Renders a table of the paper next to our results: for the terminal, markdown, LaTeX or as an image; or all as csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from opsnet.metrics.results import GRID_CELL, percent
from opsnet.metrics.semantic import SEMANTIC_RULE
from opsnet.paper.comparison import ComparedMetric, Comparison, pairs_in_paper_order
from opsnet.paper.rows import numbered, table_title
from opsnet.paper.worlds import World
from opsnet.visualization.tables import ABSENT, Table

SETS = {
    "coco": "COCO",
    "ade20k": "ADE20K",
    "ade20k_semantic": "ADE20K",
    "cityscapes": "Cityscapes",
    "pascal_context": "Pascal Context",
}
"""The paper's names of its datasets."""

_WITH_BACKBONES = (2, 3, 8, 9)

Column = tuple[str, str]
"""A dataset of the paper and a measure."""
Cells = tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]
"""Headings and rows."""


def paper_table(comparisons: Sequence[Comparison], world: World, *, all_measures: bool = False) -> Table:
    """One table of the paper next to our results.

    Args:
        comparisons: the rows, all of one table.
        world: the world of our results.
        all_measures: whether to show all measures; by default only the main one of each dataset, PQ or mIoU.
    """
    number = comparisons[0].row.table
    shown = _columns(comparisons, all_measures)
    columns, rows = _grid(comparisons, world) if number == 6 else _list(comparisons, world, shown)
    return Table(
        f"Table {number}. {table_title(number)}",
        _caption(comparisons, world, shown),
        columns,
        rows,
        text_columns=1 if number == 6 else 2,
        notes=_notes(comparisons, world),
    )


def _columns(comparisons: Sequence[Comparison], all_measures: bool) -> list[Column]:
    """The columns to show, in the paper's order."""
    found = dict.fromkeys((f.paper_set, f.measure) for c in comparisons for f in c.metrics)
    return [column for column in found if all_measures or column[1] in ("PQ", "mIoU")]


def _list(comparisons: Sequence[Comparison], world: World, shown: list[Column]) -> Cells:
    heads = ["Row", "Setting"]
    for paper_set, measure in shown:
        heads.append(f"{SETS[paper_set]} {measure} paper")
        heads += ["ours", "diff."] if world.is_real else [f"{world.domain(paper_set)} {measure} ours"]
    rows = []
    for c in comparisons:
        cells = [cell for column in shown for cell in _cells(c.metric(*column), world)]
        rows.append((str(c.row.row), c.row.title, *cells))
    return tuple(heads), tuple(rows)


def _cells(metric: ComparedMetric | None, world: World) -> tuple[str, ...]:
    if metric is None:
        return (ABSENT,) * (3 if world.is_real else 2)
    cells = (_printed(metric), percent(metric.ours))
    return (*cells, _signed(metric.difference)) if world.is_real else cells


def _printed(metric: ComparedMetric) -> str:
    return ABSENT if metric.paper is None else f"{metric.paper:.1f}"


def _signed(value: float | None) -> str:
    return ABSENT if value is None else f"{value:+.1f}"


def _grid(comparisons: Sequence[Comparison], world: World) -> Cells:
    """Table 6: alpha by row, beta by column; the paper's block, ours, and in the real world the difference."""
    cells: dict[tuple[float, float], ComparedMetric] = {}
    for c in comparisons:
        match = GRID_CELL.match(c.row.measured_as)
        assert match is not None
        cells[float(match["alpha"]), float(match["beta"])] = c.metrics[0]
    alphas, betas = sorted({a for a, _ in cells}), sorted({b for _, b in cells})
    blocks: list[tuple[str, Callable[[ComparedMetric], str]]] = [
        ("paper", _printed),
        ("ours", lambda f: percent(f.ours)),
        *([("diff.", lambda f: _signed(f.difference))] if world.is_real else []),
    ]
    heads = ("alpha", *(f"{name} {beta:g}" for name, _ in blocks for beta in betas))
    rows = [(f"{a:g}", *(show(cells[a, b]) for _, show in blocks for b in betas)) for a in alphas]
    return heads, tuple(rows)


def _caption(comparisons: Sequence[Comparison], world: World, shown: list[Column]) -> str:
    measures = " and ".join(dict.fromkeys(measure for _, measure in shown))
    parts = [f"{measures} in percent."]
    if comparisons[0].row.table == 6:
        parts.append(f"Columns: beta; the paper's values are PQ on ADE20K, ours on {world.domain('ade20k')}.")
    if not world.is_real:
        parts.append(
            "Ours are measured on the synthetic world: the ranking of the rows can be compared with the paper, the "
            "values cannot."
        )
        if comparisons[0].row.table in _WITH_BACKBONES:
            parts.append("The backbones are small substitutes (conf/world_backbone).")
    agreements = [_agreement(comparisons, world, column) for column in shown if column[1] in ("PQ", "mIoU")]
    if any(agreements):
        parts.append(f"Pairs of rows ranked as in the paper: {', '.join(filter(None, agreements))}.")
    if "mIoU" in measures:
        parts.append(f"mIoU: {SEMANTIC_RULE}.")
    return " ".join(parts)


def _agreement(comparisons: Sequence[Comparison], world: World, column: Column) -> str:
    agree, pairs = pairs_in_paper_order(comparisons, *column)
    paper_set, measure = column
    name = SETS[paper_set] if world.is_real else f"{SETS[paper_set]} / {world.domain(paper_set)}"
    return f"{name} {measure} {agree} of {pairs}" if pairs else ""


def _notes(comparisons: Sequence[Comparison], world: World) -> tuple[str, ...]:
    notes = [f"{_place(c)}: {c.row.note}." for c in comparisons if c.row.note]
    sources: dict[Path, list[Comparison]] = {}
    missing: dict[str, list[Comparison]] = {}
    for c in comparisons:
        if c.run is not None:
            sources.setdefault(c.run.folder, []).append(c)
        if c.commands:
            missing.setdefault(c.row.training, []).append(c)
    for folder, group in sources.items():
        run = group[0].run
        assert run is not None
        notes.append(f"{_rows(group)}: {folder} (seed {run.results.seed}).")
    for group in missing.values():
        state = "not run" if all(c.run is None for c in group) else "incomplete"
        if group[0].row.published_backbone and not world.is_real:
            state += ", because there are no published weights for this world; on the paper's datasets"
        notes.append(f"{_rows(group)} {state}: " + ", then ".join(f"`{command}`" for command in _commands(group)) + ".")
    return tuple(notes)


def _commands(group: Sequence[Comparison]) -> tuple[str, ...]:
    """The commands for rows of the same training; several rows need only one evaluation of the table."""
    first = group[0]
    if len(group) == 1:
        return first.commands
    one_pass = first.commands[-1].replace(f" row={first.row.row} ", " ")
    return (*first.commands[:-1], one_pass)


def _place(comparison: Comparison) -> str:
    row = comparison.row
    return row.title if row.table == 6 else f"Row {row.row}"


def _rows(group: Sequence[Comparison]) -> str:
    """``Row 3``, ``Rows 2, 5``, ``Rows 1 to 20``; for one or two cells of Table 6, their alpha and beta."""
    if group[0].row.table == 6 and len(group) < 3:
        return ", ".join(map(_place, group))
    return numbered([c.row for c in group]).capitalize()


FIELDS = (
    "table", "row", "name", "training", "setting", "paper_set", "domain", "measure", "paper", "ours",
    "difference", "run", "commands",
)  # fmt: skip


def to_csv(comparisons: Sequence[Comparison]) -> str:
    """All metrics of the paper's rows as csv, one line each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for c in comparisons:
        row = c.row
        for f in c.metrics:
            figures = ("" if v is None else round(v, 4) for v in (f.paper, f.ours, f.difference))
            what = (row.table, row.row, row.title, row.training, row.measured_as)
            where = (f.paper_set, f.domain, f.measure)
            writer.writerow((*what, *where, *figures, c.run.folder if c.run else "", "; ".join(c.commands)))
    return text.getvalue()
