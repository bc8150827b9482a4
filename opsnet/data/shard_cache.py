"""Builds the indices of shards, in parallel, and caches them: those of ImageNet-21K's 2,048 take minutes once.

An index is one safetensors file, named by a hash of everything that it depends on: the shard's path, size and time of
modification, and where its labels are. It is written when its shard is done, so that an interrupted run resumes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from opsnet.data.shard_index import ShardIndex, index_shard
from opsnet.data.shard_labels import LabelSource
from opsnet.utils.files import WriteError, atomic_path, make_folder
from opsnet.utils.processes import map_in_processes

log = logging.getLogger(__name__)

VERSION = 1  # of the files; other versions are not read
FEW = 16  # shards; as many are indexed in this process before another could start


def load_indices(paths: Sequence[Path], label: LabelSource, cache: Path | None) -> list[ShardIndex]:
    """The index of each shard, from the cache if it is there.

    Args:
        paths: existing files.
        label: where the labels are.
        cache: the folder; created if needed. ``None``, or one that cannot be written: nothing is cached.

    Raises:
        DatasetError: a shard is damaged.
    """
    with _sole_writer(cache):  # the other processes of a training wait, and then find the indices
        return list(_indices(paths, label, cache))


def load_first_indices(paths: Sequence[Path], label: LabelSource, cache: Path | None, images: int) -> list[ShardIndex]:
    """The indices of as many first shards as have ``images`` images together; otherwise as :func:`load_indices`."""
    found: list[ShardIndex] = []
    for path in paths:
        found.append(_load(path, label=label, cache=cache))
        images -= len(found[-1])
        if images <= 0:
            break
    return found


def _sole_writer(cache: Path | None) -> FileLock | nullcontext[None]:
    if cache is None:
        return nullcontext()
    try:
        make_folder(cache)
    except WriteError as error:
        log.warning("%s; until then shards are indexed again in each run", error)
        return nullcontext()
    return FileLock(cache / ".lock") if os.access(cache, os.W_OK) else nullcontext()


def _indices(paths: Sequence[Path], label: LabelSource, cache: Path | None) -> Iterator[ShardIndex]:
    from rich.console import Console
    from rich.progress import track

    one = partial(_load, label=label, cache=cache)
    todo = sum(cache is None or not _file(path, label, cache).is_file() for path in paths)
    if todo <= FEW:
        yield from map(one, paths)
        return
    processes = min(len(os.sched_getaffinity(0)), 16)
    found = map_in_processes(one, paths, processes, chunk=4, fix="run the command again, it resumes")
    yield from track(found, "Indexing shards", len(paths), console=Console(stderr=True))


def _load(path: Path, *, label: LabelSource, cache: Path | None) -> ShardIndex:
    if cache is None:
        return index_shard(path, label)
    file = _file(path, label, cache)
    index = _read(file)
    if index is None:
        index = index_shard(path, label)
        _write(file, index)
    return index


def _file(path: Path, label: LabelSource, cache: Path) -> Path:
    stat = path.stat()
    depends_on = [VERSION, str(path.resolve()), stat.st_size, stat.st_mtime_ns, label.text]
    return cache / f"{hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:32]}.safetensors"


def _read(file: Path) -> ShardIndex | None:
    """A cached index; ``None`` if there is none, or it is damaged."""
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="np") as content:
            blocks, sizes, codes = (content.get_tensor(name) for name in ("blocks", "sizes", "codes"))
            about = json.loads((content.metadata() or {})["about"])
        index = ShardIndex(
            blocks, sizes, codes, tuple((value, key) for value, key in about["values"]), about["samples"],
            tuple(about["faults"]),
        )  # fmt: skip
        if not blocks.shape == sizes.shape == codes.shape or not _in_range(codes, len(index.values)):
            raise ValueError("its parts do not fit together")
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        log.warning("index %s cannot be read (%s): indexing its shard again", file, error)
        return None
    return index


def _in_range(codes: np.ndarray, count: int) -> bool:
    return not len(codes) or (int(codes.min()) >= 0 and int(codes.max()) < count)


def _write(file: Path, index: ShardIndex) -> None:
    """Writes an index; if that fails, only a warning is logged, because the result does not depend on it."""
    about = json.dumps({"values": index.values, "samples": index.samples, "faults": index.faults})
    arrays = {"blocks": index.blocks, "sizes": index.sizes, "codes": index.codes}
    try:
        with atomic_path(file) as temporary:
            save_file(arrays, temporary, metadata={"about": about})
    except (OSError, SafetensorError) as error:
        log.warning("the index of a shard could not be cached in %s (%s): it will be made again next time", file, error)
