"""Tables 1, 4, 5, 6 and 7 of the paper in miniature: our figures beside the published ones.

Ours: PQ on the training domain, on each foreign domain, and their foreign mean. The paper's: PQ on COCO and ADE20K.
The levels cannot match (another world, another CLIP); the order of the rows is what the miniature is about.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from rich import box
from rich import table as rich_table

from opsnet.reporting.results import FOREIGN, HOME, Results, grid, percent

ABSENT = "-"
"""Shown where the paper gives no figure."""


@dataclass(frozen=True)
class Table:
    """Text in rows and columns, ready to be rendered.

    Attributes:
        title: one line.
        caption: how to read it; may be empty.
        columns: headings.
        rows: cells, as many a row as there are columns.
        text_columns: how many leading columns hold prose (left-aligned); the others hold figures.
    """

    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table '{self.title}': {len(row)} cells for {len(self.columns)} columns in {row}")


@dataclass(frozen=True)
class Setting:
    """A row of a table: which model of a run, how it recognises and filters, and the paper's row of that meaning.

    Attributes:
        name: the row's heading.
        model: ``main`` (with cross-attention) or ``baseline`` (without).
        recognition: recognition of the figure's name.
        filtering: filter of the figure's name.
        paper: key of the row in ``paper_tables.json``, or ``None`` where the paper has no such row.
    """

    name: str
    model: Literal["main", "baseline"]
    recognition: str
    filtering: str
    paper: str | None


_COLUMNS = ("Setting", "home", "novel", "street", "foreign mean", "paper: COCO", "paper: ADE20K")

_SETTINGS: dict[str, tuple[Setting, ...]] = {
    "1": (
        Setting("2 CLIP Embeds", "baseline", "clip_only", "cls", "clip"),
        Setting("3 CLIP Embeds + Mask Filter", "baseline", "clip_only", "cls_iou", "clip_filter"),
        Setting("4 Query Embeds", "baseline", "query_only", "cls", "query"),
        Setting("5 Query Embeds + Mask Filter", "baseline", "query_only", "cls_iou", "query_filter"),
        Setting("6 Query Embeds† + Mask Filter", "main", "query_only", "cls_iou", "query_cross_filter"),
        Setting("7 OPSNet", "main", "full", "cls_iou", "opsnet"),
        Setting("OPSNet without cross-attention (ours)", "baseline", "full", "cls_iou", None),
    ),
    "4": (
        Setting("Single: CLIP", "main", "clip_only", "cls_iou", "clip"),
        Setting("Single: Query", "main", "query_only", "cls_iou", "query"),
        *(
            Setting(f"Ensemble: Query + {n} CLIP", "main", f"ensemble_{n}", "cls_iou", f"ensemble_{n}")
            for n in (1, 2, 3, 4)
        ),
        Setting("Modulation: EF", "main", "fusion_only", "cls_iou", "fusion"),
        Setting("Modulation: EF + LD", "main", "full", "cls_iou", "full"),
    ),
    "5": (
        Setting("Masking, N passes", "main", "masking", "cls_iou", "masking"),
        Setting("Cropping, N passes", "main", "cropping", "cls_iou", "cropping"),
        Setting("Mask Pooling, 1 pass", "main", "clip_only", "cls_iou", "pooling"),
    ),
    "7": tuple(
        Setting(f"{name}, {score}", "main", recognition, filtering, f"{name.lower()}_{filtering}")
        for name, recognition in (("Query", "query_only"), ("CLIP", "clip_only"), ("Modulated", "full"))
        for score, filtering in (("Cls", "cls"), ("IoU", "iou"), ("Cls IoU", "cls_iou"))
    ),
}

_OURS: dict[str, str] = {
    "1": "Ours: rows 2 to 5 are the model without cross-attention, rows 6 and 7 the full model.",
    "4": "Ours: every row is the full model (with cross-attention).",
    "5": "Ours: CLIP embeddings alone, filtered by Cls IoU.",
    "6": "Ours: mean PQ of the foreign domains; the paper's: PQ on ADE20K.",
    "7": "Ours: Modulated is EF + LD.",
}


@cache
def paper_tables() -> dict[str, Any]:
    """The published tables by number, as ``paper_tables.json`` holds them."""
    text = (resources.files("opsnet.reporting") / "paper_tables.json").read_text(encoding="utf-8")
    tables: dict[str, Any] = json.loads(text)["tables"]
    return tables


def paper_pq(number: str, row: str | None, dataset: Literal["coco", "ade20k"]) -> float | None:
    """The paper's PQ in percent, or ``None`` where it gives none."""
    figures = paper_tables()[number]["rows"][row][dataset] if row else None
    return float(figures["PQ"]) if figures else None


def build_tables(main: Results, baseline: Results | None) -> tuple[Table, ...]:
    """Tables 1, 4, 5, 6 and 7 from the full model's results and those of the model without cross-attention."""
    return tuple(_grid_table(main) if number == "6" else _settings_table(number, main, baseline) for number in "14567")


def _settings_table(number: str, main: Results, baseline: Results | None) -> Table:
    rows = tuple(_row(number, s, main if s.model == "main" else baseline) for s in _SETTINGS[number])
    return Table(_title(number), _caption(number), _COLUMNS, rows)


def _row(number: str, setting: Setting, results: Results | None) -> tuple[str, ...]:
    how = (setting.recognition, setting.filtering)
    ours = [percent(results.figure(domain, *how) if results else None) for domain in (HOME, *FOREIGN)]
    foreign = percent(results.mean(FOREIGN, *how) if results else None)
    return setting.name, *ours, foreign, *(_published(paper_pq(number, setting.paper, d)) for d in ("coco", "ade20k"))


def _grid_table(main: Results) -> Table:
    paper = paper_tables()["6"]
    published = {
        (float(alpha), float(beta)): pq
        for alpha, line in zip(paper["alpha"], paper["ade20k_pq"], strict=True)
        for beta, pq in zip(paper["beta"], line, strict=True)
    }
    ours = grid(main.metrics, FOREIGN)
    cells = sorted({*ours, *published})
    alphas, betas = sorted({a for a, _ in cells}), sorted({b for _, b in cells})
    columns = ("alpha", *(f"beta {b:g}" for b in betas), *(f"paper {b:g}" for b in betas))
    rows = tuple(
        (f"{a:g}", *(percent(ours.get((a, b))) for b in betas), *(_published(published.get((a, b))) for b in betas))
        for a in alphas
    )
    return Table(_title("6"), _caption("6"), columns, rows)


def _title(number: str) -> str:
    return f"Table {number}. {paper_tables()[number]['title']}"


def _caption(number: str) -> str:
    return " ".join(("PQ in percent.", _OURS[number], *paper_tables()[number]["notes"]))


def _published(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.1f}"


def to_rich(table: Table) -> rich_table.Table:
    """The table for a terminal."""
    drawn = rich_table.Table(
        title=table.title,
        caption=table.caption,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for index, column in enumerate(table.columns):
        if index < table.text_columns:
            drawn.add_column(column)
        else:
            # Headings of several words would take the row headings' width in a terminal of 80 columns.
            drawn.add_column(column.replace(" ", "\n"), justify="right")
    for row in table.rows:
        # Rich would read "[...]" in a cell as markup.
        drawn.add_row(*(cell.replace("[", r"\[") for cell in row))
    return drawn


def to_markdown(table: Table) -> str:
    """The table as GitHub markdown: a heading, the rows, the caption."""
    aligned = [":---" if index < table.text_columns else "---:" for index in range(len(table.columns))]
    lines = [_line(table.columns), _line(aligned), *(_line(row) for row in table.rows)]
    parts = [f"## {table.title}", "\n".join(lines), *([table.caption] if table.caption else [])]
    return "\n\n".join(parts) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |"
