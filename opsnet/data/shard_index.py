"""The index of a shard: where in the .tar each image is, and its label.

With it a shard is read like a folder: any image at once, so that order, shares of processes and resumption are those of
every other set. A shard may come from anyone: names in it are only names, no link is followed, and of its files only
the label's is decoded here; everything else, pickles included, stays bytes.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opsnet.data.shard_labels import LabelError, LabelSource
from opsnet.data.tar_members import LARGEST_READ, BoundedFile, TarDamageError, tar_members
from opsnet.utils.errors import DatasetError, reason_of

BLOCK = tarfile.BLOCKSIZE
LARGEST_IMAGE = 2**29
"""Bytes of an image file."""
IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "ppm", "tif", "tiff")
"""By preference, where a sample has several."""


@dataclass(frozen=True)
class ShardIndex:
    """The n usable images of a shard, in its order.

    Attributes:
        blocks: (n,) uint32, where an image begins, in blocks of 512 bytes.
        sizes: (n,) uint32, its bytes.
        codes: (n,) int32, its label, an index into ``values``.
        values: different labels as they stand in the shard, each with the key of its first sample.
        samples: number of samples, with those that cannot be used.
        faults: these, each as a sentence without its fix that begins with the key.
    """

    blocks: NDArray[np.uint32]
    sizes: NDArray[np.uint32]
    codes: NDArray[np.int32]
    values: tuple[tuple[Any, str], ...]
    samples: int
    faults: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.blocks)


def split_name(name: str) -> tuple[str, str]:
    """Key and extension of a file in a shard: ``a/b.seg.PNG`` -> (``a/b``, ``seg.png``), WebDataset's rule."""
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return folder + slash + stem, extension.lower()


def index_shard(path: Path, label: LabelSource) -> ShardIndex:
    """Reads the headers and labels of a shard.

    Raises:
        DatasetError: it is not an uncompressed .tar, is damaged, or ends early; the message names it.
    """
    builder = _Builder(label)
    try:
        with BoundedFile(path) as file:
            for member in tar_members(file):
                builder.add(member, file)
    except TarDamageError as error:
        raise DatasetError(f"shard {path} {error}: it is damaged, download it again") from error
    except Exception as error:  # tarfile raises whatever its parsing stumbles over
        raise DatasetError(
            f"shard {path} cannot be read as an uncompressed tar ({reason_of(error) or type(error).__name__}): "
            "download it again"
        ) from error
    return builder.result()


@dataclass
class _Sample:
    """What was seen of a sample: extension -> (block, bytes) of its images, and the label's file."""

    key: str
    images: dict[str, tuple[int, int]] = field(default_factory=dict)
    label: bytes | None = None
    faults: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


class _Builder:
    """Collects the entries of a shard: successive files with one key are a sample."""

    def __init__(self, label: LabelSource) -> None:
        self._label = label
        self._sample: _Sample | None = None
        self._rows: list[tuple[int, int, int]] = []
        self._codes: dict[str, int] = {}
        self._values: list[tuple[Any, str]] = []
        self._faults: list[str] = []
        self._keys: set[str] = set()
        self._samples = 0

    def add(self, member: tarfile.TarInfo, file: BoundedFile) -> None:
        """Adds an entry; folders, links, devices and files without an extension are passed over."""
        key, extension = split_name(member.name)
        if not member.isreg() or member.issparse() or not extension:
            return
        if self._sample is None or self._sample.key != key:
            self._finish()
            self._sample = _Sample(key)
        sample = self._sample
        if extension in sample.names:
            sample.faults.append(f"has two .{extension}")
        sample.names.add(extension)
        if extension in IMAGE_EXTENSIONS:
            sample.images[extension] = (member.offset_data // BLOCK, member.size)
        elif extension == self._label.extension:
            if member.size > LARGEST_READ:
                sample.faults.append(f"has a .{extension} of {member.size:,} bytes, more than {LARGEST_READ:,}")
                return
            file.seek(member.offset_data)
            sample.label = file.read(member.size)

    def result(self) -> ShardIndex:
        """The index of all entries added."""
        self._finish()
        rows = np.array(self._rows, dtype=np.int64).reshape(-1, 3)
        return ShardIndex(
            blocks=rows[:, 0].astype(np.uint32), sizes=rows[:, 1].astype(np.uint32), codes=rows[:, 2].astype(np.int32),
            values=tuple(self._values), samples=self._samples, faults=tuple(self._faults),
        )  # fmt: skip

    def _finish(self) -> None:
        """Adds the sample that is complete, to the images or to the faults."""
        sample, self._sample = self._sample, None
        if sample is None or sample.names.isdisjoint((*IMAGE_EXTENSIONS, self._label.extension)):
            return
        self._samples += 1
        if sample.key in self._keys:
            sample.faults.append("is there twice")
        self._keys.add(sample.key)
        try:
            if sample.faults:
                raise LabelError(sample.faults[0])
            block, size = _image_of(sample)
            value = self._label.read(sample.key, sample.label)
        except LabelError as error:
            self._faults.append(f"{sample.key} {error}")
            return
        self._rows.append((block, size, self._code(value, sample.key)))

    def _code(self, value: Any, key: str) -> int:
        text = json.dumps(value)
        if text not in self._codes:
            self._codes[text] = len(self._values)
            self._values.append((value, key))
        return self._codes[text]


def _image_of(sample: _Sample) -> tuple[int, int]:
    for extension in IMAGE_EXTENSIONS:
        if extension in sample.images:
            block, size = sample.images[extension]
            if not 0 < size <= LARGEST_IMAGE:
                raise LabelError(f"has a .{extension} of {size:,} bytes, not 1 to {LARGEST_IMAGE:,}")
            return block, size
    raise LabelError("has no image")
