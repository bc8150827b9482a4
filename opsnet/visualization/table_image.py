"""Renders a table as an image."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill

from matplotlib.figure import Figure

from opsnet.visualization.plots import save_figure
from opsnet.visualization.tables import Table

_INCHES_A_CHARACTER = 0.082
_LINE = 0.24  # inches
_HEADING_WIDTH = 12  # characters per line


def draw_table(table: Table, out: Path) -> Path:
    """Renders a table with its title, caption and notes as PNG."""
    heads = [fill(column, _HEADING_WIDTH, break_long_words=False) for column in table.columns]
    widths = [_width(heads[i], *(row[i] for row in table.rows)) for i in range(len(heads))]
    width = max(sum(widths) * _INCHES_A_CHARACTER, 5.0)
    characters = int(width / _INCHES_A_CHARACTER * 1.4)  # the text below the table is smaller
    below = "\n".join(fill(part.replace("`", ""), characters) for part in (table.caption, *table.notes) if part)
    head_lines = max(head.count("\n") + 1 for head in heads)
    body = (len(table.rows) + head_lines) * _LINE
    height = 0.35 + body + (below.count("\n") + 1) * 0.17 + 0.15
    figure = Figure(figsize=(width + 0.3, height))
    figure.text(0.15 / (width + 0.3), 1 - 0.1 / height, table.title, fontsize=11, weight="bold", va="top")
    ax = figure.add_axes((0.15 / (width + 0.3), 1 - (0.35 + body) / height, width / (width + 0.3), body / height))
    ax.set_axis_off()
    _draw_cells(ax, table, heads, [w / sum(widths) for w in widths], head_lines)
    figure.text(0.15 / (width + 0.3), 0.1 / height, below, fontsize=8, va="bottom", linespacing=1.3)
    return save_figure(figure, out)


def _width(*cells: str) -> int:
    return max(len(line) for cell in cells for line in cell.split("\n")) + 2


def _draw_cells(ax, table: Table, heads: list[str], shares: list[float], head_lines: int) -> None:  # type: ignore[no-untyped-def]
    """Draws the cells individually, because matplotlib's table does not support alignment per column."""
    lines = len(table.rows) + head_lines
    ax.set_xlim(0, 1)
    ax.set_ylim(lines, 0)
    left = 0.0
    for index, share in enumerate(shares):
        is_text = index < table.text_columns
        x, align = (left + 0.003, "left") if is_text else (left + share - 0.01, "right")
        ax.text(x, head_lines - 0.15, heads[index], ha=align, va="bottom", fontsize=9, weight="bold", linespacing=1.1)
        for number, row in enumerate(table.rows):
            ax.text(x, head_lines + number + 0.5, row[index], ha=align, va="center", fontsize=9)
        left += share
    for y, line in ((head_lines, 0.9), (lines, 1.2)):
        ax.axhline(y, color="black", linewidth=line, clip_on=False)
