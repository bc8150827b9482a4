"""How a command tells its user about bad input: one sentence, no traceback, exit code 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Bad input by the user: the message names the file or key and the fix."""


class DatasetError(InputError):
    """A data set that cannot be used as it is."""


class CheckpointError(InputError):
    """A checkpoint that cannot be used; the message names it and the fix."""


@contextmanager
def exit_on_user_error(*, interrupted: str = "") -> Iterator[None]:
    """Ends the program with the message alone where the user can mend the cause; other errors keep their traceback.

    Args:
        interrupted: what Ctrl-C's message adds, such as how to go on.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra would otherwise print its own traceback before the message gets here
    try:
        yield
    except KeyboardInterrupt:
        print(f"interrupted; {interrupted}" if interrupted else "interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        cause = _input_error(error)
        if cause is None:
            raise
        print(f"error: {cause}", file=sys.stderr)
        sys.exit(2)


def _input_error(error: BaseException | None) -> str | None:
    """The message of the first input error in the chain of causes, if there is one."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    for item in chain:
        if isinstance(item, InputError):
            return str(item)
    # A key, group or value that the configuration does not have; a bug below Hydra's instantiate keeps its traceback.
    if chain and isinstance(chain[-1], (HydraException, OmegaConfBaseException, ValueError)):
        for item in chain:
            if isinstance(item, (HydraException, OmegaConfBaseException)):
                # Hydra ends with the folders that it searched, which tell a user nothing that the options do not.
                return " ".join(str(item).split("Config search path:")[0].split())
    return None
