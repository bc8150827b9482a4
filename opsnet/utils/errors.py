"""User errors: commands report invalid input in one sentence, without traceback and with exit code 2."""

from __future__ import annotations

import os
import re
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_BREAK = re.compile(r"\s*[\r\n]\s*")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class InputError(ValueError):
    """Invalid user input; the message names the file or key and the fix.

    It is one line. The names in it are often those of other people: control characters, which could rewrite what a
    terminal shows, and letters that cannot be encoded are replaced by their escapes.
    """

    def __init__(self, message: str = "") -> None:
        line = _BREAK.sub(" ", str(message).strip())
        super().__init__(_UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], line))


class DatasetError(InputError):
    """A dataset cannot be used as it is."""


class CheckpointError(InputError):
    """A checkpoint cannot be used; the message names it and the fix."""


def reason_of(error: BaseException, length: int = 200) -> str:
    """What a library says of a file that it cannot read, in one line of at most ``length`` letters.

    Of PyTorch's refusal of a file with code, only the function is kept: its advice is to run the code.
    """
    text = " ".join(str(error).split())
    if "weights_only" in text:
        named = re.search(r"GLOBAL ([\w.]+)", text)
        text = f"it holds {named[1]}, which weights do not need" if named else "it is not a file of tensors"
    return text if len(text) <= length else f"{text[: length - 3]}..."


@contextmanager
def exit_on_user_error(*, interrupted: str = "") -> Iterator[None]:
    """Exits with only the message for errors that the user can fix; other errors keep their traceback.

    Ctrl-C exits with code 130, and a closed pipe (``| head``) with 141, as shells report both.

    Args:
        interrupted: text to add to the message after Ctrl-C, such as how to resume.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # otherwise Hydra would catch the error and print its own traceback
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise
        sys.exit(141)
    except KeyboardInterrupt:
        print(f"interrupted; {interrupted}" if interrupted else "interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        cause = _input_error(error)
        if cause is None:
            raise
        print(f"error: {cause}", file=sys.stderr)
        sys.exit(2)


def _stdout_is_closed() -> bool:
    """Whether the reader of stdout has gone, not that of another pipe; what is left to print is then dropped."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
    return True


def _input_error(error: BaseException | None) -> str | None:
    """The message of the first input error in the chain of causes, if any."""
    from hydra.errors import HydraException, InstantiationException
    from omegaconf.errors import OmegaConfBaseException

    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    for item in chain:
        if isinstance(item, InputError):
            return str(item)
    # A key, group or value that does not exist in the configuration; a bug inside instantiate keeps its traceback.
    if chain and isinstance(chain[-1], (HydraException, OmegaConfBaseException, ValueError)):
        if isinstance(chain[-1], ValueError) and isinstance(chain[0], InstantiationException):
            return f"{_node(str(chain[0]))}{chain[-1]}"
        for item in chain:
            if isinstance(item, (HydraException, OmegaConfBaseException)):
                # Omit the search path that Hydra appends; the listed options are sufficient.
                return " ".join(str(item).split("Config search path:")[0].split())
    return None


def _node(message: str) -> str:
    """The part of the configuration that Hydra says could not be built, as ``"data.module: "``."""
    found = re.search(r"full_key: (\S+)", message)
    return f"{found[1]}: " if found else ""
