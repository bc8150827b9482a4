"""Tables of text, and their rendering for the terminal, markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich import table as rich_table

ABSENT = "-"
"""Shown where the paper has no value."""


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: one line.
        caption: explanation; may be empty.
        columns: headings.
        rows: cells, one per column in each row.
        text_columns: number of leading columns with text (left-aligned); the others contain numbers.
        notes: notes on single rows, one line each.
    """

    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table '{self.title}': {len(row)} cells for {len(self.columns)} columns in {row}")


def to_rich(table: Table) -> rich_table.Table:
    """The table for the terminal."""
    drawn = rich_table.Table(
        title=table.title,
        caption=_plain("\n".join(part for part in (table.caption, *table.notes) if part)),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for index, column in enumerate(table.columns):
        if index < table.text_columns:
            drawn.add_column(column)
        else:
            # Long headings would take up the width of the row headings in a terminal of 80 columns.
            drawn.add_column(column.replace(" ", "\n"), justify="right")
    for row in table.rows:
        drawn.add_row(*map(_plain, row))
    return drawn


def _plain(text: str) -> str:
    """Escapes "[...]", which rich would interpret as markup."""
    return text.replace("[", r"\[")


def to_markdown(table: Table) -> str:
    """The table as GitHub markdown: a heading, the rows, the caption, the notes as a list."""
    aligned = [":---" if index < table.text_columns else "---:" for index in range(len(table.columns))]
    lines = [_line(table.columns), _line(aligned), *(_line(row) for row in table.rows)]
    notes = "\n".join(f"- {note}" for note in table.notes)
    parts = [f"## {table.title}", "\n".join(lines), table.caption, notes]
    return "\n\n".join(part for part in parts if part) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |"


_LATEX = {
    **{character: "\\" + character for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "†": r"\textdagger{}",
    "±": r"$\pm$",
}


def to_latex(table: Table) -> str:
    """The table as a LaTeX ``table`` with booktabs' rules; caption and notes become its caption."""
    alignment = "".join("l" if index < table.text_columns else "r" for index in range(len(table.columns)))
    body = [_latex_line(table.columns), r"\midrule", *(_latex_line(row) for row in table.rows)]
    caption = " ".join(f"{part.rstrip('.')}." for part in (table.title, table.caption, *table.notes) if part)
    lines = [
        "% \\usepackage{booktabs}", r"\begin{table}", r"\centering", f"\\begin{{tabular}}{{{alignment}}}", r"\toprule",
        *body, r"\bottomrule", r"\end{tabular}", f"\\caption{{{_latex(caption)}}}", r"\end{table}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(_latex(cell) for cell in cells) + r" \\"


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text.replace("`", ""))
