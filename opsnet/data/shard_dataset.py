"""Image labels at scale: the images of a WebDataset's shards, such as timm's ``imagenet-w21-wds`` (ImageNet-21K)."""

from __future__ import annotations

import logging
import os
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from opsnet.data.image_label_dataset import LabelledImages, LabelledSample
from opsnet.data.images import decode_rgb, require_limit
from opsnet.data.shard_cache import load_first_indices, load_indices
from opsnet.data.shard_files import Shard, find_shards
from opsnet.data.shard_index import BLOCK, ShardIndex, split_name
from opsnet.data.shard_labels import LabelError, LabelIndices, LabelSource
from opsnet.data.transforms import Transform
from opsnet.utils.errors import DatasetError
from opsnet.utils.files import printable
from opsnet.utils.paths import user_path
from opsnet.vocabulary import Vocabulary

log = logging.getLogger(__name__)

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "PPM", "TIFF")
"""Of images in shards, which may come from anyone: Pillow starts a program to read some others, such as EPS."""
_UNLABELLED, _UNKNOWN = -1, -2


class ShardDataset(LabelledImages):
    """The labelled images of shards, in the order of the shards; images without a label are skipped.

    Args:
        shards: a folder of .tar files, with timm's ``_info.json`` or without; a path, possibly with braces or
            wildcards; or a list of these. Only local files are read.
        split: of the ``_info.json``.
        label: where a sample's label is: ``cls``, ``json.FIELD`` or ``key``, see :class:`LabelSource`.
        vocabulary: the vocabulary that the labels index, or any argument of ``Vocabulary.load``.
        transform: as for :class:`ImageLabelDataset`.
        limit: use only the first ``limit`` images; only their shards are indexed.
        window: images that are shuffled together, see :meth:`shuffled`; ``None``: all.
        max_damaged: most samples that may be unusable. Those without image or label are left out. An image that cannot
            be decoded is replaced by the next one, and the images of each loading process are counted by themselves.
        skip_unknown: leave out images with a label that the vocabulary lacks, e.g. for a part of WordNet.
        cache: folder for the index of each shard; ``None``: they are indexed in each run.

    Attributes:
        unlabelled, unknown: numbers of images that were left out, because they have no label, or an unknown one.
        faults: unusable samples, as the beginning of a sentence.

    Raises:
        DatasetError: a shard is missing or damaged, too many samples are, a label is not in the vocabulary, or no image
            has a label.
    """

    def __init__(
        self,
        *,
        shards: Path | str | Iterable[Path | str],
        split: str = "train",
        label: str = "cls",
        vocabulary: Vocabulary | str = "imagenet21k",
        transform: Transform | None = None,
        limit: int | None = None,
        window: int | None = 16_384,
        max_damaged: int = 0,
        skip_unknown: bool = False,
        cache: Path | str | None = None,
    ) -> None:
        require_limit(limit)
        if window is not None and window < 1:
            raise DatasetError(f"window must be at least 1 image or null for all, got {window}: change `window`")
        super().__init__(Vocabulary.load(vocabulary), transform)
        self.window, self.max_damaged = window, max_damaged
        listed, source = find_shards(shards, split), LabelSource(label)
        folder = None if cache is None else user_path(cache)
        paths = [shard.path for shard in listed]
        if limit is None:
            indices = load_indices(paths, source, folder)
        else:
            indices = load_first_indices(paths, source, folder, limit)
        self.paths = paths[: len(indices)]
        self.faults = tuple(f"{f} in {p}" for p, index in zip(self.paths, indices) for f in index.faults)
        _check_lengths(listed, indices)
        if len(self.faults) > max_damaged:
            raise DatasetError(
                f"sample {self.faults[0]} ({len(self.faults):,} damaged, {max_damaged:,} allowed): repair the shards, "
                "or raise `max_damaged`"
            )
        self._damaged: set[int] = set()
        self._join(indices, limit, skip_unknown)

    def _join(self, indices: Sequence[ShardIndex], limit: int | None, skip_unknown: bool) -> None:
        """Joins the indices of the shards, without images that have no label."""
        of_shards, self._labels = self._codes_of(indices, skip_unknown)
        codes = np.concatenate(of_shards)[:limit]
        chosen = codes >= 0
        self.unlabelled, self.unknown = (int((codes == kind).sum()) for kind in (_UNLABELLED, _UNKNOWN))
        self._codes = codes[chosen]
        self._blocks, self._sizes = (
            np.concatenate([getattr(i, name) for i in indices])[:limit][chosen] for name in ("blocks", "sizes")
        )
        whole = np.cumsum([len(index) for index in indices])
        self._ends = np.concatenate(([0], np.cumsum(chosen)))[np.minimum(whole, len(chosen))]
        if not len(self._codes):
            raise DatasetError(f"no image of {self.paths[0]} ... has a label: check `label` and `limit`")

    def _codes_of(
        self, indices: Sequence[ShardIndex], skip_unknown: bool
    ) -> tuple[list[NDArray[np.int32]], list[tuple[int, ...]]]:
        """The label of each image of each shard as an index into all different labels, and these."""
        known: dict[tuple[int, ...], int] = {}
        resolve, codes = LabelIndices(self.vocabulary), []
        for path, index in zip(self.paths, indices):
            table = []
            for value, key in index.values:
                try:
                    labels = resolve.of(value)
                    table.append(known.setdefault(labels, len(known)) if labels else _UNLABELLED)
                except LabelError as error:
                    if not skip_unknown:
                        fix = "set `vocabulary` or `label` to those of these shards, or `skip_unknown`"
                        raise DatasetError(f"sample {key} in {path} {error}: {fix}") from error
                    table.append(_UNKNOWN)
            codes.append(np.array(table, dtype=np.int32)[index.codes])
        return codes, list(known)

    def __len__(self) -> int:
        return len(self._codes)

    def labels_of(self, index: int) -> list[int]:
        """Labels of an image in ascending order, without reading it."""
        return list(self._labels[self._codes[index]])

    def name_of(self, index: int) -> str:
        """Key and shard of an image."""
        path, key, _ = self._bytes(index, with_content=False)
        return f"{key} in {path}"

    def read(self, index: int) -> tuple[NDArray[np.uint8], str]:
        """An image, RGB (H, W, 3), and its key.

        Raises:
            DatasetError: it cannot be decoded, or the shard changed.
        """
        path, key, content = self._bytes(index)
        return decode_rgb(content, f"sample {key} in {path}", FORMATS), key

    def shuffled(self, generator: torch.Generator) -> Tensor:
        """An order of all images, int64 (n,), in which those read after one another are near one another on disk.

        The shards are shuffled, and then the images within windows of their sequence: a window of 16,384 images reads
        two or three of ImageNet-21K's shards of 600 MB, which stay in the memory of the operating system. Without a
        window all images are shuffled, in the order of every other set of as many images.
        """
        if self.window is None:
            return torch.randperm(len(self), generator=generator)
        starts = [0, *self._ends[:-1].tolist()]
        order = torch.randperm(len(starts), generator=generator).tolist()
        sequence = torch.cat([torch.arange(starts[shard], int(self._ends[shard])) for shard in order])
        windows = sequence.split(self.window)
        return torch.cat([part[torch.randperm(len(part), generator=generator)] for part in windows])

    def __getitem__(self, index: int) -> LabelledSample:
        for number in range(index, index + len(self)):
            number %= len(self)
            try:
                return super().__getitem__(number)
            except DatasetError as error:
                self._count_damaged(number, error)
        raise DatasetError(f"no image of {self.paths[0]} and its like can be read: download the shards again")

    def _count_damaged(self, index: int, error: DatasetError) -> None:
        """Raises the error of an image if it is one too many, and otherwise logs it once."""
        if index in self._damaged:
            return
        self._damaged.add(index)
        count = len(self.faults) + len(self._damaged)
        if count > self.max_damaged:
            raise DatasetError(f"{error}, or raise `max_damaged` ({count:,} damaged, {self.max_damaged:,} allowed)")
        log.warning("%s; the next image takes its place", error)

    def _bytes(self, index: int, with_content: bool = True) -> tuple[Path, str, bytes]:
        """Shard, key and file of an image; the header before the file says whether the shard is as it was indexed."""
        path = self.paths[int(np.searchsorted(self._ends, index, side="right"))]
        start, size = int(self._blocks[index]) * BLOCK, int(self._sizes[index])
        try:
            with path.open("rb", buffering=0) as file:
                found = os.pread(file.fileno(), BLOCK + size * with_content, start - BLOCK)
            header = tarfile.TarInfo.frombuf(found[:BLOCK], "utf-8", "surrogateescape")
            if header.size != size or len(found) != BLOCK + size * with_content:
                raise ValueError("it has other files")
        except (OSError, ValueError, tarfile.TarError) as error:
            raise DatasetError(
                f"shard {path} changed after it was indexed, or cannot be read ({error}): start again"
            ) from error
        return path, printable(split_name(header.name)[0]), found[BLOCK:]


def _check_lengths(shards: Sequence[Shard], indices: Sequence[ShardIndex]) -> None:
    """Compares the shards with their ``_info.json``: a .tar that ends at a file's end looks whole."""
    for shard, index in zip(shards, indices):
        if shard.samples is not None and shard.samples != index.samples:
            raise DatasetError(
                f"shard {shard.path} has {index.samples:,} samples, {shard.samples:,} by its _info.json: download it "
                "again"
            )
