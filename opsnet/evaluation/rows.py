"""Rows of the paper's tables that one checkpoint answers: which settings they are, and which rows are another's.

A row names the training whose checkpoint it scores (:mod:`opsnet.paper.rows`); a checkpoint names the experiment that
trained it. Scoring the one with the other's would fill a table with results of the wrong network.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from omegaconf import OmegaConf

from opsnet.evaluation.options import EvaluationOptions
from opsnet.paper.rows import TableRow, numbered, table_row, table_rows, tables
from opsnet.paper.trainings import rows_of, training_of
from opsnet.utils.errors import InputError

log = logging.getLogger(__name__)


def asked_rows(options: EvaluationOptions) -> tuple[TableRow, ...]:
    """The rows that a configuration asks for: of its ``table``, or those that its experiment's settings are.

    Args:
        options: ``table`` is null, a number, ``table6``, a list of these, or ``all``; ``row`` is null,
            a number or a list, of a single table.

    Raises:
        InputError: the paper has no such table or row, both a table and settings are asked for, or a row of no table.
    """
    if options.table is None:
        if options.row is not None:
            raise InputError(f"row={options.row} is of no table: give table=T too")
        return tuple(row for row in rows_of(options.experiment_name) if row.setting in options.settings)
    if options.settings:
        raise InputError("give either table=T, whose rows have settings of their own, or settings=[...], not both")
    asked = _listed(options.table)
    numbers = list(tables()) if asked == ["all"] else asked
    if options.row is None:
        return tuple(dict.fromkeys(row for number in numbers for row in table_rows(number)))
    if len(numbers) != 1:
        raise InputError(f"row={options.row} is of one table, but table={options.table}: give table=T, a single one")
    return tuple(dict.fromkeys(table_row(numbers[0], row) for row in _listed(options.row)))


def _listed(value: Any) -> list[Any]:
    """A list of the configuration, or of its single value."""
    return list(value) if OmegaConf.is_list(value) else [value]


def rows_of_checkpoint(
    rows: Sequence[TableRow], experiment: str | None, *, trained_as: str | None = None, name: str = "checkpoint"
) -> tuple[TableRow, ...]:
    """Those of the rows that score a checkpoint; the others are named, with the commands that run them.

    Args:
        rows: that are asked for.
        experiment: that the checkpoint says trained it; ``None`` where it does not say.
        trained_as: what the user says of it.
        name: of the checkpoint, for messages.

    Raises:
        InputError: no row is this checkpoint's, or it does not say whose it is and that matters.
    """
    if not rows:
        return ()
    training = _training(rows, experiment, trained_as, name)
    own = tuple(row for row in rows if row.training == training)
    others = [row for row in rows if row.training != training]
    if not own:
        raise InputError(f"{name} was trained by {training}, but {_names(rows)} score another: {_commands(others)}")
    if others:
        log.warning("left out, because %s was trained by %s: %s", name, training, _commands(others))
    return own


def _training(rows: Sequence[TableRow], experiment: str | None, trained_as: str | None, name: str) -> str:
    """The training that wrote the checkpoint."""
    said = trained_as or experiment
    if said is not None:
        found = training_of(said)
        if found is not None:
            return found
        raise InputError(
            f"{name} was trained by the experiment '{said}', which no row of the paper's tables scores: give "
            f"trained_as={_scored(rows)[0]}, if it is that model, to score these rows with it"
        )
    possible = _scored(rows)
    if len(possible) != 1:
        raise InputError(
            f"{name} does not say which experiment trained it, and the rows score {' or '.join(possible)}: give "
            f"trained_as={possible[0]}"
        )
    log.warning("%s does not say which experiment trained it; taken for %s", name, possible[0])
    return possible[0]


def _scored(rows: Iterable[TableRow]) -> list[str]:
    """The trainings whose checkpoints the rows score; published weights where there is no training."""
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
            command = (
                f"opsnet-train experiment={training}, then opsnet-evaluate table={table} checkpoint=PATH of its own"
            )
        parts.append(f"{_names(group)} ({command})")
    return "; ".join(parts)


def _names(rows: Sequence[TableRow]) -> str:
    """``Table 1, rows 2 to 5, Table 4, row 1``."""
    groups = {table: [row for row in rows if row.table == table] for table in sorted({row.table for row in rows})}
    return ", ".join(f"Table {table}, {numbered(group)}" for table, group in groups.items())
