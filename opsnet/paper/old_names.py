"""The names of experiments from before ``conf/tables``, when each row of a table was an experiment of its own.

``table4_row3`` was row 3 of Table 4, and as a training that which this row scores today: the tables are the mapping.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opsnet.paper.rows import TableRow, all_rows
from opsnet.utils.errors import InputError

_OTHERS = {"train_opsnet_plus": "opsnet_plus_r50"}
_ROW = re.compile(r"table(?P<table>\d+)_row(?P<row>\d+)")
_PATTERN = re.compile(r"glob\(table(?P<table>\d*)[\w*]*\)")


def current_name(experiment: str) -> str:
    """The training that an old name meant; other names as they are."""
    row = _row(experiment)
    return row.training if row else _OTHERS.get(experiment, experiment)


@contextmanager
def refuse_old_names(arguments: Sequence[str]) -> Iterator[None]:
    """Within it an old name, on the command line or in a yaml that an experiment builds on, is an input error.

    Args:
        arguments: of the command line.

    Raises:
        InputError: the sentence tells the new name.
    """
    from hydra.errors import MissingConfigException

    for argument in arguments:  # of a pattern that matches nothing Hydra says nothing, and runs no job
        if match := _PATTERN.fullmatch(argument.removeprefix("experiment=")):
            table = match["table"] or "T"
            raise InputError(
                f"{argument}: rows of tables are no experiments now: opsnet-evaluate table={table} scores them in one "
                f"pass, opsnet-evaluate -m table={table} row=1,2 one after the other"
            )
    try:
        yield
    except MissingConfigException as error:
        name = str(error.missing_cfg_file).removeprefix("experiment/")
        if name in _OTHERS:
            raise InputError(f"experiment={name} was renamed: experiment={_OTHERS[name]}") from error
        if row := _row(name):
            raise InputError(f"experiment={name} was renamed: {_commands(row)}") from error
        raise


def _commands(row: TableRow) -> str:
    if row.published_backbone:
        return (
            f"published weights ({row.name}) are scored by python -m scripts.published.score_mask2former "
            f"backbone={row.published_backbone} model.weights=PATH"
        )
    return (
        f"train it by experiment={row.training}, score it ({row.name}) by opsnet-evaluate table={row.table} "
        f"row={row.row} world=real checkpoint=PATH"
    )


def _row(name: str) -> TableRow | None:
    match = _ROW.fullmatch(name)
    numbers = (int(match["table"]), int(match["row"])) if match else None
    return next((row for row in all_rows() if (row.table, row.row) == numbers), None)
