"""Signals that ask a process to stop, and processes that do not outlive their parent."""

from __future__ import annotations

import ctypes
import gc
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Ctrl-C; ``kill`` and schedulers; the warnings that SLURM sends before a time limit or a preemption."""
_PR_SET_PDEATHSIG = 1


class Stopped(SystemExit):
    """A signal stopped the process; its exit code is the one by which shells and schedulers report the signal.

    Args:
        number: the signal.
        at_once: the signal came again, so work was left as it was.
        together: all processes of a training stop at the same step.
    """

    def __init__(self, number: signal.Signals, *, at_once: bool = False, together: bool = False) -> None:
        super().__init__(128 + number)
        self.number, self.at_once, self.together = number, at_once, together


@contextmanager
def stop_handler(handle: Callable[[signal.Signals], None]) -> Iterator[None]:
    """A context in which ``handle`` receives the stop signals; does nothing outside the main thread.

    SIGINT too, because shells start background processes with SIGINT ignored.
    """

    def call(number: int, frame: FrameType | None) -> None:
        handle(signal.Signals(number))

    before = set_handlers(dict.fromkeys(STOP_SIGNALS, call))
    try:
        yield
    finally:
        set_handlers(before)


def set_handlers(handlers: dict[signal.Signals, Any]) -> dict[signal.Signals, Any]:
    """Sets handlers of signals and returns the previous ones; does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number, handler in handlers.items()}


def end_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """Makes the kernel send ``number`` to this process when its parent ends, also if that is killed; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def begin_worker(worker: int = 0) -> None:
    """Makes a worker process leave stop signals and objects of its parent alone.

    Ctrl-C and schedulers signal all processes of a job: a worker that ended at once would make the step fail that its
    training wants to complete. After SIGTERM it ends after a minute in any case. Objects that a fork has inherited are
    not collected: one that owns threads, such as a video's decoder, would wait for them, and they are the parent's.

    Args:
        worker: its number, which PyTorch gives.
    """
    gc.freeze()
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(60))
    sys.excepthook = _print_unless_given_up
    end_with_parent()


def _print_unless_given_up(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """For the thread with which a worker hands over its batches: one that is not taken any more is no error."""
    from multiprocessing import AuthenticationError

    if not issubclass(kind, (EOFError, ConnectionError, AuthenticationError)):
        sys.__excepthook__(kind, error, trace)


def end_workers() -> None:
    """Ends the data-loading workers that an error has left running.

    At exit, Python would send them SIGTERM, which they survive for a minute, and wait for them.
    """
    if "multiprocessing" not in sys.modules:  # commands without workers end sooner
        return
    import multiprocessing

    workers = [child for child in multiprocessing.active_children() if child.daemon]
    if workers:
        set_handlers({signal.SIGCHLD: signal.SIG_DFL})  # PyTorch's raises an error for each worker that is killed
    for worker in workers:
        worker.kill()
