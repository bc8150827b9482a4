"""Rows of the paper's tables that one checkpoint answers: which settings they are, and which rows are another's.

A row names the training whose checkpoint it scores (:mod:`opsnet.experiments`); a checkpoint names the experiment that
trained it. Scoring the one with the other's would fill a table with figures of the wrong network.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from opsnet.errors import InputError
from opsnet.experiments import PUBLISHED, ExperimentRow, experiment_row, experiment_rows, row_of_experiment, tables

log = logging.getLogger(__name__)


def asked_rows(cfg: DictConfig) -> tuple[ExperimentRow, ...]:
    """The rows that a configuration asks for: of its ``table``, or the one that is its experiment.

    Args:
        cfg: conf/evaluate.yaml; ``table`` is null, a number, ``table6``, a list of these, or ``all``.

    Raises:
        InputError: the paper has no such table, or both a table and settings are asked for.
    """
    if cfg.table is None:
        row = experiment_row(cfg.experiment_name)
        return (row,) if row else ()
    if cfg.settings is not None:
        raise InputError("give either table=T, whose rows have settings of their own, or settings=[...], not both")
    wanted: Any = OmegaConf.to_container(cfg.table) if OmegaConf.is_config(cfg.table) else [cfg.table]
    numbers = tables() if wanted == ["all"] else wanted
    return tuple({row.name: row for number in numbers for row in experiment_rows(number)}.values())


def rows_of_checkpoint(
    rows: Sequence[ExperimentRow], experiment: str | None, *, trained_as: str | None = None, name: str = "checkpoint"
) -> tuple[ExperimentRow, ...]:
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


def _training(rows: Sequence[ExperimentRow], experiment: str | None, trained_as: str | None, name: str) -> str:
    """The row that trained the checkpoint."""
    said = trained_as or experiment
    if said is not None:
        found = row_of_experiment(said)
        if found is not None:
            return found.name
        raise InputError(
            f"{name} was trained by the experiment '{said}', which is no row of the paper's tables: give "
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


def _scored(rows: Iterable[ExperimentRow]) -> list[str]:
    """The trainings whose checkpoints the rows score."""
    return list(dict.fromkeys(row.training for row in rows if row.training != PUBLISHED)) or [PUBLISHED]


def _commands(rows: Sequence[ExperimentRow]) -> str:
    """Each group of rows with the command that runs it."""
    parts = []
    for training in dict.fromkeys(row.training for row in rows):
        group = [row for row in rows if row.training == training]
        numbers = sorted({row.table for row in group})
        if training == PUBLISHED:
            command = f"python scripts/score_mask2former.py experiment={group[0].name} model.weights=PATH"
        else:
            table = str(numbers[0]) if len(numbers) == 1 else f"[{','.join(map(str, numbers))}]"
            command = (
                f"opsnet-train experiment={training}, then opsnet-evaluate table={table} checkpoint=PATH of its own"
            )
        parts.append(f"{_names(group)} ({command})")
    return "; ".join(parts)


def _names(rows: Sequence[ExperimentRow]) -> str:
    names = [row.name for row in rows]
    return ", ".join(names) if len(names) <= 4 else f"{names[0]} to {names[-1]}, {len(names)} rows"
