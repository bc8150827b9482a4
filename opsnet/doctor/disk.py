"""The folder of a run: whether checkpoints can be written there, and whether they find room."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from opsnet.doctor.checklist import Checklist

COPIES = 3
"""``best.ckpt``, ``last.ckpt``, and the temporary copy of the one that is being written."""


def existing_parent(path: Path) -> Path:
    """The nearest folder or file above ``path``, or itself, that is there."""
    return next(p for p in (path, *path.parents) if p.exists())


def check_folder(target: Path, checklist: Checklist) -> bool:
    """Whether a run can write in its folder. Nothing is left behind.

    Args:
        target: the run's folder, which need not be there.
        checklist: takes the result.
    """
    parent = existing_parent(target.absolute())
    try:
        with tempfile.TemporaryDirectory(prefix=".rehearsal_", dir=parent):
            pass
    except OSError as error:
        checklist.fail(
            "checkpoint folder",
            f"{target / 'checkpoints'} cannot be written ({error.strerror}: {parent}): give paths.runs=FOLDER (or "
            "OPSNET_RUNS) that can",
        )
        return False
    checklist.ok("checkpoint folder", f"{target / 'checkpoints'} can be written")
    return True


def check_space(target: Path, checkpoint: int, checklist: Checklist) -> bool:
    """Whether the disk of a run's folder has room for its checkpoints.

    Args:
        target: the run's folder, which need not be there.
        checkpoint: bytes of one checkpoint.
        checklist: takes the result.
    """
    free, need = free_bytes(target), COPIES * checkpoint
    told = f"checkpoints take {gib(need)} ({COPIES} x {gib(checkpoint)}: best, last, and one being written)"
    if free < need:
        checklist.fail(
            "disk", f"{told}, but the disk of {target} has {gib(free)} free: free some, or give paths.runs=FOLDER"
        )
        return False
    checklist.ok("disk", f"{told}; {gib(free)} are free")
    return True


def free_bytes(path: Path) -> int:
    """Free bytes of the disk that ``path`` lies on, or will lie on."""
    return shutil.disk_usage(existing_parent(path.absolute())).free


def gib(size: float) -> str:
    """Bytes in words, with two digits."""
    return f"{size / 2**30:.2f} GiB"
