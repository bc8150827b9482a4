"""The journal of an evaluation: what was scored so far, in parts, beside its output.

Each process writes the state of its metrics as a part every half minute, or every fiftieth of its time if that is
longer, and starts anew. The first process adds up the parts of all. So several devices and an evaluation that was
killed are one case: parts of the images, each scored once, that merge to the digit
(:mod:`opsnet.metrics.merging`).

``<folder>/journal.json`` says what is evaluated, ``<folder>/<domain>/<first batch>.json.gz`` are parts.
"""

from __future__ import annotations

import gzip
import json
import logging
import math
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from opsnet.metrics.merging import Mergeable, State, clear, state_of
from opsnet.utils.errors import InputError
from opsnet.utils.files import atomic_path, make_folder, write_json

log = logging.getLogger(__name__)
FOLDER = "journal"  # in the folder of an evaluation run
ABOUT = "journal.json"
SHARE = 0.02
"""Of the time since the start, at most this much passes between two parts (or the given seconds, if more), so that the
number of parts grows with the logarithm of the time; and writing them takes at most this share of it."""
MAX_BYTES = 2**31  # of a part in memory
FORMAT = 2  # of the parts: the arrays of the metrics


class JournalError(InputError):
    """A journal that does not belong to the evaluation; the message names it and the fix."""


@dataclass(frozen=True)
class Part:
    """Some batches of a domain and the state of their metrics."""

    batches: tuple[int, ...]
    state: State


class Journal:
    """The parts of an evaluation.

    Args:
        folder: its folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: FileLock | None = None

    def open(self, made_by: Mapping[str, Any]) -> None:
        """Begins the journal, or continues an earlier one; called by the first process alone.

        Args:
            made_by: json values of what is evaluated.

        Raises:
            JournalError: the folder has the journal of another evaluation, or another one uses it now.
            WriteError: it cannot be written.
        """
        make_folder(self.folder)
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise JournalError(
                f"{self.folder} is in use by another evaluation: wait for its end, or choose another hydra.run.dir"
            ) from error
        self._lock = lock
        path, current = self.folder / ABOUT, json.loads(json.dumps({"format": FORMAT, **made_by}))
        if path.is_file():
            try:
                stored = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise JournalError(f"{path} is damaged ({error}): delete {self.folder} to start again") from error
            if other := differing(stored, current):
                raise JournalError(
                    f"{self.folder} is the journal of an unfinished evaluation of something else ({', '.join(other)} "
                    "differ): give the command that it was started with to continue it, another hydra.run.dir, or "
                    "delete this folder to start again"
                )
        write_json(path, current)

    def parts(self, domain: str) -> list[Path]:
        """The files of a domain's parts."""
        return sorted((self.folder / domain).glob("[0-9]*.json.gz"))

    def covered(self, domain: str) -> list[int]:
        """The batches of a domain that earlier runs have scored; damaged parts are removed."""
        batches: set[int] = set()
        for path in self.parts(domain):
            try:
                batches.update(read_part(path).batches)
            except JournalError as error:
                log.warning("%s; its images are scored again", error)
                path.unlink()
        return sorted(batches)

    def close(self) -> None:
        """Lets another evaluation use the folder."""
        if self._lock is not None:
            self._lock.release()

    def remove(self) -> None:
        """Removes the journal, when its results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def differing(stored: Any, current: Mapping[str, Any]) -> list[str]:
    """The keys whose values differ."""
    stored = stored if isinstance(stored, dict) else {}
    return [key for key in sorted({*stored, *current}) if stored.get(key) != current.get(key)]


class OpenPart:
    """The part of a domain that this process is scoring, written when it is due.

    Args:
        folder: of the domain's parts.
        metrics: the accumulators, which are cleared when a part is written.
        every: seconds between two parts; 0: a part per batch.
    """

    def __init__(self, folder: Path, metrics: Mapping[str, Mergeable], every: float) -> None:
        self.folder, self.metrics, self.every = folder, metrics, every
        self.batches: list[int] = []
        self._start = self._last = time.monotonic()
        self._writing = 0.0
        self._is_whole = True

    @contextmanager
    def batch(self, index: int) -> Iterator[None]:
        """A context in which a batch is scored; the part is written after it, if it is due."""
        self._is_whole = False
        yield
        self._is_whole = True
        self.batches.append(index)
        now = time.monotonic()
        pause = max(self.every, SHARE * (now - self._start), self._writing / SHARE) if self.every else 0.0
        if now - self._last >= pause:
            self.write()

    def write(self) -> None:
        """Writes the part, if it has a batch and its last one was scored to the end, and clears the metrics.

        Raises:
            WriteError: the disk is full or cannot be written.
        """
        before = time.monotonic()
        if self.batches and self._is_whole:
            path = self.folder / f"{self.batches[0]:06d}.json.gz"
            write_part(path, Part(tuple(self.batches), state_of(self.metrics)))
        self.batches = []
        self._last = time.monotonic()
        self._writing = self._last - before
        clear(self.metrics)


def write_part(path: Path, part: Part) -> None:
    """Writes a part, atomically.

    Raises:
        WriteError: the disk is full or cannot be written.
    """
    sums = {name: _sparse(array) for name, array in part.state.sums.items()}
    content = {"batches": part.batches, "sums": sums, "records": part.state.records}
    with atomic_path(path) as temporary, gzip.open(temporary, "wt", compresslevel=1, encoding="utf-8") as file:
        json.dump(content, file, separators=(",", ":"))


def read_part(path: Path) -> Part:
    """Reads a part.

    Raises:
        JournalError: it is damaged.
    """
    try:
        with gzip.open(path, "rb") as file:
            data = file.read(MAX_BYTES)
        content = json.loads(data)
        sums = {str(name): _dense(*stored) for name, stored in content["sums"].items()}
        records = {
            str(name): {int(image): value for image, value in values.items()}
            for name, values in content["records"].items()
        }
        return Part(tuple(map(int, content["batches"])), State(sums, records))
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise JournalError(f"{path} is damaged ({type(error).__name__}: {error}): delete it") from error


def _sparse(array: np.ndarray) -> list[Any]:
    """Shape, and indices and values that are not 0: most pairs of classes never meet."""
    flat = array.reshape(-1)
    index = flat.nonzero()[0]
    return [list(array.shape), index.tolist(), flat[index].tolist()]


def _dense(shape: Sequence[int], index: Sequence[int], values: Sequence[int]) -> np.ndarray:
    if math.prod(shape) > MAX_BYTES // 8:
        raise ValueError(f"an array of {shape} is too large")
    array = np.zeros(tuple(shape), np.int64)
    array.reshape(-1)[np.array(index, np.int64)] = np.array(values, np.int64)
    return array


def new_parts(journal: Journal, domain: str, seen: set[Path]) -> Iterator[Part]:
    """Yields the parts of a domain that are not in ``seen``, and adds them.

    Raises:
        JournalError: one is damaged.
    """
    for path in journal.parts(domain):
        if path not in seen:
            seen.add(path)
            yield read_part(path)
