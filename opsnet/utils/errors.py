"""User errors: commands report invalid input in one sentence, without traceback and with exit code 2."""

from __future__ import annotations

import errno
import io
import os
import re
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from opsnet.utils.stop_signals import STOP_SIGNALS, Stopped, end_workers, set_handlers, stop_handler

# Patterns are compiled when they are needed, because every command imports this file.
_DEAD_WORKER = r"DataLoader worker \(pid.*?\) (is killed by signal: [^.]+|exited unexpectedly)"
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)

_BREAK = r"\s*[\r\n]\s*"
_CONTROL = r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]"


def one_line(text: str) -> str:
    """A message in one line that a terminal can show.

    It may quote files of other people: control characters, which a terminal would obey, and letters that cannot be
    encoded become escapes.
    """
    return re.sub(_CONTROL, lambda found: ascii(found[0])[1:-1], re.sub(_BREAK, " ", text.strip()))


class InputError(ValueError):
    """Invalid user input; the message names the file or key and the fix, in one line (:func:`one_line`)."""

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(str(message)))


class DatasetError(InputError):
    """A dataset cannot be used as it is."""


class CheckpointError(InputError):
    """A checkpoint cannot be used; the message names it and the fix."""


def reason_of(error: BaseException, length: int = 200) -> str:
    """What a library says of a file that it cannot read, in one line of at most ``length`` letters.

    Of PyTorch's refusal of a file with code, only the function is kept: its advice is to run the code. Of a
    damaged pickle, the number that is all its error says is left out.
    """
    text = " ".join(str(error).split())
    if text.isdigit():
        return "its content is damaged"
    if "weights_only" in text:
        named = re.search(r"GLOBAL ([\w.]+)", text)
        text = f"it holds {named[1]}, which weights do not need" if named else "it is not a file of tensors"
    return text if len(text) <= length else f"{text[: length - 3]}..."


def shown(message: str, length: int = 900) -> str:
    """A message in one line (:func:`one_line`); of a longer one, the beginning and the end."""
    text = one_line(message)
    return text if len(text) <= length else f"{text[: length // 2]} ... {text[-length // 3 :]}"


@contextmanager
def exit_on_user_error(*, interrupted: str = "") -> Iterator[None]:
    """Exits with only the message for errors that the user or the machine can fix; other errors keep their traceback.

    Ctrl-C exits with code 130, SIGTERM with 143, SLURM's SIGUSR1 and SIGUSR2 with 138 and 140, and a closed pipe
    (``| head``) with 141, as shells report them.

    Args:
        interrupted: text to add to the message after Ctrl-C or another signal, such as how to resume.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # otherwise Hydra would catch the error and print its own traceback
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files and classes that the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with stop_handler(_stop):
            yield
        sys.stdout.flush()
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise
        sys.exit(141)
    except (KeyboardInterrupt, Stopped) as stop:
        _exit_stopped(stop, interrupted)
    except Exception as error:
        if (signalled := _stop_before(error)) is not None:
            _exit_stopped(signalled, interrupted)
        cause = sentence_of(error)
        if cause is None:
            raise
        print(f"error: {shown(cause)}", file=sys.stderr)
        sys.exit(2)
    finally:
        end_workers()


def sentence_of(error: BaseException) -> str | None:
    """The message of an error that the user or the machine can fix; ``None`` for a bug."""
    return _input_error(error) or _machine_error(error)


@contextmanager
def when_stopped(kept: Callable[[], str]) -> Iterator[None]:
    """A context that adds to the message after a signal what is on disk, which only the running command knows."""
    try:
        yield
    except (KeyboardInterrupt, Stopped) as stop:
        stop.kept = kept()  # type: ignore[union-attr]
        raise


def _stop(number: signal.Signals) -> None:
    """Raises in the main thread; signals that follow, which schedulers repeat, do not disturb what is saved now."""
    set_handlers(dict.fromkeys(STOP_SIGNALS, signal.SIG_IGN if number != signal.SIGINT else signal.default_int_handler))
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Stopped(number)


def _exit_stopped(stop: BaseException, hint: str) -> NoReturn:
    hint = getattr(stop, "kept", "") or hint
    what = f"stopped by {stop.number.name}" if isinstance(stop, Stopped) else "interrupted"
    print(f"{what}; {hint}" if hint else what, file=sys.stderr)
    sys.exit(stop.code if isinstance(stop, Stopped) else 130)


def _stop_before(error: BaseException | None) -> BaseException | None:
    """The signal after which an error occurred: data-loading workers that received it too fail."""
    while error is not None and not isinstance(error, (KeyboardInterrupt, Stopped)):
        error = error.__context__
    return error


def _stdout_is_closed() -> bool:
    """Whether the reader of stdout has gone, not that of another pipe; what is left to print is then dropped."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        return False
    _drop_stdout()
    return True


def _drop_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit


def _machine_error(error: BaseException | None) -> str | None:
    """The message of the first error of the machine in the chain of causes, if any.

    Memory or a disk is full, a folder cannot be written, or a process that reads images was killed.
    """
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if memory := out_of_memory(error):
            return f"there is not enough memory ({memory}): use smaller images (longest=...) or a smaller batch"
        if message := _dead_worker(error) or _unwritable(error):
            return message
        seen.append(error)
        error = error.__cause__ or error.__context__
    return None


def _dead_worker(error: BaseException) -> str | None:
    """What PyTorch raises wherever the main process is when a data-loading worker dies, as one sentence."""
    found = re.match(_DEAD_WORKER, str(error)) if isinstance(error, RuntimeError) else None
    return found and (
        f"{found[0]}, perhaps because memory or /dev/shm was full: run the same command again (a training with "
        "resume=auto), with a lower data.module.num_workers"
    )


def _unwritable(error: BaseException) -> str | None:
    if not isinstance(error, OSError) or error.errno not in _UNWRITABLE:
        return None
    reason = os.strerror(error.errno)
    if error.filename is not None:
        return f"{error.filename} cannot be written ({reason}): make room, or choose another folder"
    try:
        sys.stdout.flush()
    except OSError:
        _drop_stdout()
        return f"standard output cannot be written ({reason}): make room where it is directed to"
    return f"the output cannot be written ({reason}): make room, or choose another folder"


def out_of_memory(error: BaseException) -> str:
    """What says that memory did not suffice, of the machine or of the GPU; empty for another error."""
    text = reason_of(error)
    is_it = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"  # PyTorch's: no import
    return text or "MemoryError" if is_it or "can't allocate memory" in text else ""


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
        if isinstance(item, RuntimeError) and str(item).startswith("Could not determine home"):  # Path.expanduser's
            return "a path begins with ~ and the name of a user who does not exist here: write the whole path"
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
