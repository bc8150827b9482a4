"""A run's folder belongs to one training at a time, and a finished run is not overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from opsnet.utils.errors import InputError

_LOCK = ".lock"


@contextmanager
def own_folder(folder: Path, resume: Path | None) -> Iterator[None]:
    """A context in which no other training can write into a run's folder; the first process of a training locks it.

    The lock ends with the process, also if that is killed.

    Args:
        folder: the run's folder (``output``).
        resume: checkpoint from which the training resumes.

    Raises:
        InputError: another training uses the folder, it has a finished run, or it cannot be written.
    """
    from lightning.fabric.utilities.rank_zero import _get_rank

    if _get_rank():  # not the first process, whose rank is None or 0, and which holds the lock for all
        yield
        return
    if resume is None and (folder / "results.json").is_file() and (folder / "checkpoints" / "last.ckpt").is_file():
        raise InputError(
            f"{folder} (output) has a finished training: choose another output, or remove the folder to train again"
        )
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"{folder} (output) is in use by another training: wait for its end, or choose another output"
        ) from error
    except OSError as error:
        raise InputError(f"{folder} (output) cannot be written ({error.strerror}): choose another output") from error
    try:
        yield
    finally:
        (folder / _LOCK).unlink(missing_ok=True)
        lock.release()
        if new and not any(folder.iterdir()):  # invalid input was found before anything was written
            folder.rmdir()


def is_running(folder: Path) -> bool:
    """Whether a training uses a run's folder now, on this machine or on a shared filesystem that has locks."""
    if not (folder / _LOCK).is_file():
        return False
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False
