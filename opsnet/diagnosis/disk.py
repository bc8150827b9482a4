"""Checks the folder of a run: whether checkpoints can be written there, and whether there is enough space."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from opsnet.diagnosis.checklist import Checklist

COPIES = 3
"""``best.ckpt``, ``last.ckpt``, and the temporary file of the one being written."""


def existing_parent(path: Path) -> Path:
    """The nearest existing ancestor of ``path``, or ``path`` itself."""
    return next(p for p in (path, *path.parents) if p.exists())


def check_folder(target: Path, checklist: Checklist) -> bool:
    """Checks whether a run can write to its folder, without leaving anything there.

    Args:
        target: the run's folder, which need not exist.
        checklist: receives the result.
    """
    parent = existing_parent(target.absolute())
    try:
        with tempfile.TemporaryDirectory(prefix=".rehearsal_", dir=parent):
            pass
    except OSError as error:
        checklist.fail(
            "checkpoint folder",
            f"{target / 'checkpoints'} is not writable ({error.strerror}: {parent}): give a writable "
            "paths.runs=FOLDER (or OPSNET_RUNS)",
        )
        return False
    checklist.ok("checkpoint folder", f"{target / 'checkpoints'} is writable")
    return True


def check_space(target: Path, checkpoint: int, checklist: Checklist) -> bool:
    """Checks whether the file system of a run's folder has enough space for its checkpoints.

    Args:
        target: the run's folder, which need not exist.
        checkpoint: bytes of one checkpoint.
        checklist: receives the result.
    """
    free, need = free_bytes(target), COPIES * checkpoint
    summary = f"checkpoints take {gib(need)} ({COPIES} x {gib(checkpoint)}: best, last, and one being written)"
    if free < need:
        checklist.fail(
            "disk", f"{summary}, but the disk of {target} has {gib(free)} free: free some, or give paths.runs=FOLDER"
        )
        return False
    checklist.ok("disk", f"{summary}; {gib(free)} are free")
    return True


def free_bytes(path: Path) -> int:
    """Free bytes on the file system of ``path``, which need not exist."""
    return shutil.disk_usage(existing_parent(path.absolute())).free


def gib(size: float) -> str:
    """Formats bytes as GiB with two digits."""
    return f"{size / 2**30:.2f} GiB"
