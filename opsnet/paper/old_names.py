"""Old experiment names from before ``conf/tables``, when each row of a table was a separate experiment.

``table4_row3`` was row 3 of Table 4; as a training it corresponds to the training of that row, so the tables themselves
define the mapping.
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
    """The training that an old name refers to; other names are returned unchanged."""
    row = _row(experiment)
    return row.training if row else _OTHERS.get(experiment, experiment)


@contextmanager
def refuse_old_names(arguments: Sequence[str]) -> Iterator[None]:
    """A context in which old names, on the command line or in the defaults of a yaml, raise an input error.

    Args:
        arguments: the command-line arguments.

    Raises:
        InputError: an old name is used; the message states the new one.
    """
    from hydra.errors import MissingConfigException

    for argument in arguments:  # for a pattern without a match Hydra prints nothing and runs no job
        if match := _PATTERN.fullmatch(argument.removeprefix("experiment=")):
            table = match["table"] or "T"
            raise InputError(
                f"{argument}: table rows are no longer experiments: opsnet-evaluate table={table} scores them in one "
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
        f"train it with experiment={row.training}, score it ({row.name}) with opsnet-evaluate table={row.table} "
        f"row={row.row} world=real checkpoint=PATH"
    )


def _row(name: str) -> TableRow | None:
    match = _ROW.fullmatch(name)
    numbers = (int(match["table"]), int(match["row"])) if match else None
    return next((row for row in all_rows() if (row.table, row.row) == numbers), None)
