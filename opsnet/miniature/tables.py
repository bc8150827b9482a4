"""Tables 1 and 3 to 7 of the paper in miniature: the results of one run next to the published ones.

Ours: PQ on the training domain, on each unseen domain, and the mean over the unseen domains. The paper's: PQ on COCO
    and
ADE20K. The values cannot match (other data, another CLIP); the miniature is about the ranking of the rows.
"""

from __future__ import annotations

from opsnet.metrics.results import IN_DOMAIN, OUT_OF_DOMAIN, TUNED_NAMES, Results, grid, percent
from opsnet.paper.rows import TableRow, table_row, table_rows, table_title
from opsnet.visualization.tables import ABSENT, Table

BASELINE = "opsnet_r50_no_clip_attention"
"""The training without cross-attention; all other rows are read from the full model."""

_COLUMNS = ("Setting", "in-domain", "novel", "street", "out-of-domain mean", "paper: COCO", "paper: ADE20K")

_OURS: dict[int, str] = {
    1: "Ours: rows 2 to 5 are the model without cross-attention, rows 6 and 7 the full model.",
    3: "Ours: fine-tuned from the full model for the same number of steps; all with Embedding Modulation.",
    4: "Ours: every row is the full model (with cross-attention).",
    5: "Ours: CLIP embeddings alone, filtered by Cls IoU.",
    6: "Ours: mean PQ over the unseen domains; the paper's: PQ on ADE20K.",
    7: "Ours: Modulated is EF + LD.",
}


def build_tables(main: Results, baseline: Results | None) -> tuple[Table, ...]:
    """Tables 1 and 3 to 7, from the full model's results and those of the model without cross-attention."""
    others = {3: _tuned_table, 6: _grid_table}
    return tuple(
        others[number](main) if number in others else _settings_table(number, main, baseline) for number in _OURS
    )


def _tuned_table(main: Results) -> Table:
    numbers = {"cls": 2, "cls_masksum": 3}
    models = [("OPSNet", main, 1)] + [
        (name, main.tuned.get(folder), numbers.get(folder)) for folder, name in TUNED_NAMES.items()
    ]
    rows = [
        (name, *_metrics(results, "full/cls_iou"), *(_published(table_row(3, row)) if row else (ABSENT, ABSENT)))
        for name, results, row in models
    ]
    return Table(_title(3), _caption(3), _COLUMNS, tuple(rows), notes=_notes(3))


def _settings_table(number: int, main: Results, baseline: Results | None) -> Table:
    known = [row for row in table_rows(number) if row.setting]
    rows = [(_heading(row), *_ours(row.training, row.measured_as, main, baseline), *_published(row)) for row in known]
    return Table(_title(number), _caption(number), _COLUMNS, tuple(rows), notes=_notes(number))


def _heading(row: TableRow) -> str:
    return f"{row.row} {row.title}" if row.table == 1 and not row.is_ours else row.title


def _ours(training: str, setting: str, main: Results, baseline: Results | None) -> tuple[str, ...]:
    return _metrics(baseline if training == BASELINE else main, setting)


def _metrics(results: Results | None, setting: str) -> tuple[str, ...]:
    recognition, _, filtering = setting.partition("/")
    places = [(IN_DOMAIN,), *((domain,) for domain in OUT_OF_DOMAIN), OUT_OF_DOMAIN]
    return tuple(percent(results.mean(place, recognition, filtering) if results else None) for place in places)


def _published(row: TableRow) -> tuple[str, ...]:
    values = (row.published(domain, "PQ") for domain in ("coco", "ade20k"))
    return tuple(ABSENT if value is None else f"{value:.1f}" for value in values)


def paper_grid() -> dict[tuple[float, float], float]:
    """The paper's Table 6: (alpha, beta) -> PQ on ADE20K in percent."""
    metrics = {f"ade20k/{row.measured_as}/PQ": row.paper["ade20k"]["PQ"] for row in table_rows(6)}
    return grid(metrics, ("ade20k",))


def _grid_table(main: Results) -> Table:
    published, ours = paper_grid(), grid(main.metrics, OUT_OF_DOMAIN)
    cells = sorted({*ours, *published})
    alphas, betas = sorted({a for a, _ in cells}), sorted({b for _, b in cells})
    columns = ("alpha", *(f"beta {b:g}" for b in betas), *(f"paper {b:g}" for b in betas))
    rows = tuple(
        (
            f"{a:g}",
            *(percent(ours.get((a, b))) for b in betas),
            *(f"{published[a, b]:.1f}" if (a, b) in published else ABSENT for b in betas),
        )
        for a in alphas
    )
    return Table(_title(6), _caption(6), columns, rows, notes=_notes(6))


def _title(number: int) -> str:
    return f"Table {number}. {table_title(number)}"


def _caption(number: int) -> str:
    return f"PQ in percent. {_OURS[number]}"


def _notes(number: int) -> tuple[str, ...]:
    return tuple(f"{_heading(row)}: {row.note}." for row in table_rows(number) if row.note and row.setting)
