"""Selects the rows of the paper's tables that one checkpoint can fill, and leaves out those of other trainings.

A row names the training whose checkpoint it scores (:mod:`opsnet.paper.rows`); a checkpoint names the experiment that
trained it. Scoring a row with another training's checkpoint would put results of the wrong network into the table.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from opsnet.evaluation.options import EvaluationOptions
from opsnet.paper.rows import TableRow, numbered, table_row, table_rows, tables
from opsnet.paper.trainings import rows_of, training_of
from opsnet.utils.errors import InputError

log = logging.getLogger(__name__)


def asked_rows(options: EvaluationOptions) -> tuple[TableRow, ...]:
    """The rows that a configuration requests: those of ``table``, or those that match its experiment and settings.

    Args:
        options: ``table`` is null, a number, ``table6``, a list of these, or ``all``; ``row`` is null,
            a number or a list, and needs a single table.

    Raises:
        InputError: the paper has no such table or row, both table and settings are given, or a row without a table.
    """
    if options.table is None:
        if options.row is not None:
            raise InputError(f"row={options.row} needs a table: give table=T too")
        return tuple(row for row in rows_of(options.experiment_name) if row.setting in options.settings)
    if options.settings:
        raise InputError("give either table=T, whose rows have their own settings, or settings=[...], not both")
    asked = _listed(options.table)
    numbers = list(tables()) if asked == ["all"] else asked
    if options.row is None:
        return tuple(dict.fromkeys(row for number in numbers for row in table_rows(number)))
    if len(numbers) != 1:
        raise InputError(f"row={options.row} needs a single table, but table={options.table}: give table=T")
    return tuple(dict.fromkeys(table_row(numbers[0], row) for row in _listed(options.row)))


def _listed(value: Any) -> list[Any]:
    """A list from the configuration, or a single value as a list."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def rows_of_checkpoint(
    rows: Sequence[TableRow], experiment: str | None, *, trained_as: str | None = None, name: str = "checkpoint"
) -> tuple[TableRow, ...]:
    """The rows that a checkpoint can fill; the others are logged with the commands that run them.

    Args:
        rows: the requested rows.
        experiment: the experiment stored in the checkpoint; ``None`` if it has none.
        trained_as: the experiment given by the user, which takes precedence.
        name: the checkpoint's name in messages.

    Raises:
        InputError: no row belongs to this checkpoint, or its experiment is unknown and the rows need several.
    """
    if not rows:
        return ()
    training = _training(rows, experiment, trained_as, name)
    own = tuple(row for row in rows if row.training == training)
    others = [row for row in rows if row.training != training]
    if not own:
        raise InputError(
            f"{name} was trained by {training}, but {_names(rows)} need another training: {_commands(others)}"
        )
    if others:
        log.warning("skipped, because %s was trained by %s: %s", name, training, _commands(others))
    return own


def _training(rows: Sequence[TableRow], experiment: str | None, trained_as: str | None, name: str) -> str:
    """The training that wrote the checkpoint."""
    known = trained_as or experiment
    if known is not None:
        training = training_of(known)
        if training is not None:
            return training
        raise InputError(
            f"{name} was trained by the experiment '{known}', which no row of the paper's tables uses: give "
            f"trained_as={_scored(rows)[0]}, if it is that model, to score these rows with it"
        )
    possible = _scored(rows)
    if len(possible) != 1:
        raise InputError(
            f"{name} does not store which experiment trained it, and the rows need {' or '.join(possible)}: give "
            f"trained_as={possible[0]}"
        )
    log.warning("%s does not store which experiment trained it; assuming %s", name, possible[0])
    return possible[0]


def _scored(rows: Iterable[TableRow]) -> list[str]:
    """The trainings whose checkpoints the rows score; if all rows use published weights, their names."""
    names = dict.fromkeys(row.training for row in rows if row.published_backbone is None)
    return list(names or dict.fromkeys(row.training for row in rows))


def _commands(rows: Sequence[TableRow]) -> str:
    """Each group of rows with the command that runs it."""
    parts = []
    for training in dict.fromkeys(row.training for row in rows):
        group = [row for row in rows if row.training == training]
        numbers = sorted({row.table for row in group})
        if group[0].published_backbone:
            weights = f"backbone={group[0].published_backbone} model.weights=PATH"
            command = f"python -m scripts.published.score_mask2former {weights}"
        else:
            table = str(numbers[0]) if len(numbers) == 1 else f"[{','.join(map(str, numbers))}]"
            command = f"opsnet-train experiment={training}, then opsnet-evaluate table={table} checkpoint=PATH of it"
        parts.append(f"{_names(group)} ({command})")
    return "; ".join(parts)


def _names(rows: Sequence[TableRow]) -> str:
    """``Table 1, rows 2 to 5, Table 4, row 1``."""
    groups = {table: [row for row in rows if row.table == table] for table in sorted({row.table for row in rows})}
    return ", ".join(f"Table {table}, {numbered(group)}" for table, group in groups.items())
