"""The rows of the paper's tables, as defined in ``conf/tables/T.yaml``, with the paper's results.

A file has a ``title`` and ``rows``, keyed by the paper's row numbers. A row has

- ``name``: the paper's name of the row;
- ``training``, an experiment of conf/experiment (next to ``title`` if it is the same for all rows), and ``setting``,
  how its checkpoint is scored; or ``published``, the backbone of a published Mask2Former;
- ``paper``: dataset -> measure -> percent, as printed; or ``ours: true``, if the paper has no such row;
- optionally ``corrected``: the values implied by the paper's other results in place of a misprint; and ``note``.

A table over alpha and beta has ``grid`` instead of ``rows``: both lists, the same keys with ``{alpha}`` and ``{beta}``
as placeholders, results as a matrix, and ``notes`` by row.

Tables refer to trainings, not vice versa: a row has one training, while ``opsnet_r50`` provides 46 rows of eight
tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from opsnet.utils.configuration import config_dir
from opsnet.utils.errors import InputError

PaperResults = Mapping[str, Mapping[str, float]]
"""Data set -> measure -> percent."""


@dataclass(frozen=True)
class TableRow:
    """A row of a table of the paper.

    Attributes:
        table, row: numbers in the paper; the rows of Table 6 are its cells in row-major order; rows of ours come last.
        title: the paper's name of the row, or ours followed by "(ours)".
        training: the experiment whose checkpoint is scored, or ``mask2former_<backbone>`` for published weights.
        setting: how it is scored, see :func:`opsnet.inference.settings.parse_setting`; ``None`` for published weights.
        paper: the paper's results as printed; empty for a row of ours.
        corrected: values implied by the paper's other results, in place of misprints.
        note: a note on the results.
        published_backbone: for published weights, an option of conf/backbone.
    """

    table: int
    row: int
    title: str
    training: str
    setting: str | None
    paper: PaperResults = field(hash=False)
    corrected: PaperResults = field(default_factory=dict, hash=False)
    note: str | None = None
    published_backbone: str | None = None

    @property
    def name(self) -> str:
        """``Table 4, row 3``."""
        return f"Table {self.table}, row {self.row}"

    @property
    def is_ours(self) -> bool:
        """Whether the paper has no such row."""
        return not self.paper

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Dataset and measure of each result; for a row of ours those of all rows of its table."""
        rows = table_rows(self.table) if self.is_ours else (self,)
        return tuple(dict.fromkeys((dataset, m) for row in rows for dataset, given in row.paper.items() for m in given))

    @property
    def measured_as(self) -> str:
        """The name of the setting in the results of an evaluation."""
        return self.setting or "mask2former"

    def published(self, dataset: str, measure: str) -> float | None:
        """The paper's result in percent, with misprints corrected; ``None`` if it has none."""
        results = self.corrected if measure in self.corrected.get(dataset, {}) else self.paper
        value = results.get(dataset, {}).get(measure)
        return None if value is None else float(value)


def tables() -> tuple[int, ...]:
    """Numbers of the tables."""
    return tuple(sorted(int(path.stem) for path in (config_dir() / "tables").glob("*.yaml")))


def table_title(table: int) -> str:
    """The paper's title of a table."""
    return str(_load(table)["title"])


def table_rows(table: int | str) -> tuple[TableRow, ...]:
    """The rows of a table in the paper's order.

    Args:
        table: its number, or ``table6``.

    Raises:
        InputError: there is no such table, or its file is malformed.
    """
    number = str(table).removeprefix("table")
    if number not in map(str, tables()):
        raise InputError(f"table {table}: there are tables {', '.join(map(str, tables()))} in conf/tables")
    return _rows(int(number))


def table_row(table: int | str, row: int | str) -> TableRow:
    """A row by its table and row number.

    Raises:
        InputError: there is no such table, or it has no such row.
    """
    rows = table_rows(table)
    found = next((r for r in rows if str(r.row) == str(row)), None)
    if found is None:
        raise InputError(f"row {row}: Table {rows[0].table} has {numbered(rows)}")
    return found


def all_rows() -> tuple[TableRow, ...]:
    """The rows of all tables."""
    return tuple(row for table in tables() for row in _rows(table))


def numbered(rows: Sequence[TableRow]) -> str:
    """The row numbers as text: ``row 3``, ``rows 2, 5``, ``rows 1 to 20``, ``rows 2 to 5, 8``."""
    spans: list[list[int]] = []
    for row in rows:
        if spans and row.row == spans[-1][-1] + 1:
            spans[-1].append(row.row)
        else:
            spans.append([row.row])
    parts = [f"{span[0]} to {span[-1]}" if len(span) > 2 else ", ".join(map(str, span)) for span in spans]
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(parts)}"


def _load(table: int) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(_path(table)))  # type: ignore[return-value]


def _path(table: int) -> Path:
    return config_dir() / "tables" / f"{table}.yaml"


@cache
def _rows(table: int) -> tuple[TableRow, ...]:
    content = _load(table)
    try:
        rows = dict(_cells(**content["grid"])) if "grid" in content else content["rows"]
        return tuple(_row(table, number, **{**_shared(content, row), **row}) for number, row in rows.items())
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{_path(table)} is not a table ({error!r}): see opsnet/paper/rows.py for its keys") from error


def _shared(content: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """The values shared by all rows of a table except published weights."""
    return {"training": content["training"]} if "training" in content and "published" not in row else {}


def _row(
    table: int, row: int, *, name: str, paper: PaperResults | None = None, training: str | None = None,
    setting: str | None = None, published: str | None = None, corrected: PaperResults | None = None,
    note: str | None = None, ours: bool = False,
) -> TableRow:  # fmt: skip
    if bool(paper) == ours:
        raise ValueError(f"row {row}: give either paper, its printed results, or ours: true")
    if (training is None) != (setting is None) or (training is None) == (published is None):
        raise ValueError(f"row {row}: give either training and setting, or published")
    weights = training or f"mask2former_{published}"
    title = f"{name} (ours)" if ours else name
    return TableRow(table, row, title, weights, setting, paper or {}, corrected or {}, note, published)


def _cells(
    *, name: str, setting: str, alpha: Sequence[float], beta: Sequence[float], paper: Mapping[str, Any],
    notes: Mapping[int, str] | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:  # fmt: skip
    """The cells of a grid as rows: alpha by row, beta by column."""
    for number, ((i, a), (j, b)) in enumerate(product(enumerate(alpha), enumerate(beta)), start=1):
        values = {"alpha": f"{a:g}", "beta": f"{b:g}"}
        results = {dataset: {m: matrix[i][j] for m, matrix in given.items()} for dataset, given in paper.items()}
        row = {"name": name.format(**values), "setting": setting.format(**values), "paper": results}
        yield number, {**row, "note": (notes or {}).get(number)}
