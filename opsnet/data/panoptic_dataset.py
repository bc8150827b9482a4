"""Datasets in COCO's panoptic format (:mod:`opsnet.data.coco_panoptic`): COCO, ADE20K, Cityscapes, the synthetic world,
or your own; semantic sets too, with one segment per class.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from opsnet.data.images import read_rgb, require_files, require_limit
from opsnet.data.panoptic_entries import Entry, read_entries
from opsnet.data.panoptic_png import read_ids
from opsnet.data.sharing import checked_by_another_process
from opsnet.data.transforms import Transform, as_image
from opsnet.structures import GroundTruth, Segment
from opsnet.utils.errors import DatasetError
from opsnet.utils.paths import user_path
from opsnet.vocabulary import Vocabulary

QUIET_BELOW = 500  # images; checking fewer is too fast for a progress bar


@dataclass(frozen=True)
class Sample:
    """One image with its targets.

    Attributes:
        image: (3, H, W) RGB, uint8 in 0..255 or float in 0..1.
        plane: (H, W) int, the segment of each pixel.
        segments: (G,) int, the values in ``plane`` of the segments, without crowd. Segments that the transform cropped
            away are dropped, or kept with ``keep_empty``; G may be 0.
        labels: (G,) int64, indices into the vocabulary.
        truth: ground truth for scoring: ids and all segments, crowd included, at the size on disk, before any
            transform.
        image_id: the id in the json.
    """

    image: Tensor
    plane: Tensor
    segments: Tensor
    labels: Tensor
    truth: GroundTruth
    image_id: int | str

    @property
    def masks(self) -> Tensor:
        """(G, H, W) bool, made anew: only training needs them, and they are most of a sample."""
        # NumPy, because its broadcast comparison takes a tenth of torch's time on the CPU.
        return torch.from_numpy(self.plane.numpy() == self.segments.numpy()[:, None, None])


class PanopticDataset(Dataset[Sample]):
    """The images of a COCO panoptic json, in its order; images without an annotation are skipped.

    Args:
        images: folder of the images.
        annotations: the panoptic json.
        segments: folder of the PNGs; default: the json's path without ``.json``.
        vocabulary: the labels' vocabulary, or any argument of ``Vocabulary.load``.
        transform: (image (3, H, W), segment indices (H, W)) -> the same, e.g. ``TrainTransform``.
        skip: skip the first ``skip`` annotations.
        limit: of the remaining annotations, use only the first ``limit``.
        keep_empty: keep segments that the transform cropped away as targets with an empty mask, as Mask2Former does: a
            proposal then learns to predict the class of an invisible segment, and an empty mask.
        instances: LVIS' json of the same images, whose instances replace the segments for average precision.

    Raises:
        DatasetError: the json contradicts itself or the vocabulary, or a file it lists is missing.
    """

    def __init__(
        self,
        *,
        images: Path | str,
        annotations: Path | str,
        segments: Path | str | None = None,
        vocabulary: Vocabulary | str,
        transform: Transform | None = None,
        skip: int = 0,
        limit: int | None = None,
        keep_empty: bool = False,
        instances: Path | str | None = None,
    ) -> None:
        require_limit(limit)
        self.keep_empty = keep_empty
        self.vocabulary = Vocabulary.load(vocabulary)
        self.transform = transform
        self.annotations = user_path(annotations)
        self.images = user_path(images)
        self.instances = None if instances is None else user_path(instances)
        self.segments = user_path(segments) if segments is not None else self.annotations.with_suffix("")
        self._entries = read_entries(self.annotations, self.vocabulary, limit, skip)
        if not checked_by_another_process():
            require_files(self.images, [e.image for e in self._entries], self.annotations, "images")
            require_files(self.segments, [e.png for e in self._entries], self.annotations, "segments")

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Sample:
        entry = self._entries[index]
        ids = read_ids(self.segments / entry.png)
        height, width = ids.shape

        def check_size(size: tuple[int, int]) -> None:
            if size != (width, height):
                raise DatasetError(
                    f"image {self.images / entry.image} is {size[0]} x {size[1]}, but its segments "
                    f"{self.segments / entry.png} are {width} x {height}: give both the same size"
                )

        image = as_image(read_rgb(self.images / entry.image, check_size))
        rows, areas = self._locate(entry, ids)
        return self._sample(entry, image, rows, self._truth(entry, ids, areas))

    @property
    def image_ids(self) -> list[int | str]:
        """The id of every image, in the order of the dataset."""
        return [entry.image_id for entry in self._entries]

    @property
    def image_paths(self) -> list[Path]:
        """The file of every image, in the order of the dataset."""
        return [self.images / entry.image for entry in self._entries]

    def read_image(self, index: int) -> NDArray[np.uint8]:
        """Reads an image without any transform, RGB (H, W, 3)."""
        return read_rgb(self.images / self._entries[index].image)

    def truth(self, index: int) -> GroundTruth:
        """Reads an image's ground truth for scoring, but not the image."""
        entry = self._entries[index]
        ids = read_ids(self.segments / entry.png)
        return self._truth(entry, ids, self._locate(entry, ids)[1])

    def _truth(self, entry: Entry, ids: NDArray[np.int32], areas: NDArray[np.intp]) -> GroundTruth:
        things = self.vocabulary.is_thing
        return GroundTruth(
            ids=torch.from_numpy(ids.astype(np.int64)),
            segments=tuple(
                Segment(id=i, label=label, is_thing=things[label], area=area, is_crowd=bool(crowd), covered=covered)
                for (i, label, crowd, covered), area in zip(entry.segments.tolist(), areas.tolist(), strict=True)
            ),
        )

    def check_pixels(self, shard: tuple[int, int] = (0, 1)) -> None:
        """Reads every PNG and compares its ids with the json; shows progress for long sets.

        Args:
            shard: (rank, world size): this process checks every world-size-th image, starting at its rank.

        Raises:
            DatasetError: the ids of a PNG and the json differ, or a PNG cannot be read.
        """
        from rich.console import Console
        from rich.progress import track

        rank, world_size = shard
        indices = range(rank, len(self), world_size)
        # Threads, because decoding releases the GIL; an error leaves the block and drops the queued images.
        with ThreadPool(min(8, os.cpu_count() or 1)) as pool:
            done = pool.imap_unordered(self._check, indices)
            for _ in track(
                done,
                description=f"Checking {self.annotations.name}",
                total=len(indices),
                console=Console(stderr=True),
                disable=rank > 0 or len(indices) < QUIET_BELOW,
            ):
                pass

    def _check(self, index: int) -> None:
        entry = self._entries[index]
        self._locate(entry, read_ids(self.segments / entry.png))

    def _sample(self, entry: Entry, image: tv_tensors.Image, rows: NDArray[np.intp], truth: GroundTruth) -> Sample:
        """The sample after the transform.

        The transform gets one map of segment indices instead of G masks: resizing a single plane is G times cheaper and
        cannot make two masks overlap.
        """
        kept = np.flatnonzero(entry.segments[:, 2] == 0)
        numbers = np.zeros(len(entry.segments) + 1, dtype=np.int32)  # 0 = void and crowd
        numbers[1 + kept] = 1 + np.arange(len(kept))
        plane: Tensor = tv_tensors.Mask(torch.from_numpy(numbers[rows]))
        moved: Tensor = image
        if self.transform is not None:
            moved, plane = self.transform(image, plane)
        plane = plane.as_subclass(Tensor)
        targets = np.arange(len(kept))
        if not self.keep_empty:
            targets = np.flatnonzero(np.bincount(plane.numpy().ravel(), minlength=len(kept) + 1)[1:])
        labels = torch.from_numpy(entry.segments[kept[targets], 1])
        segments = torch.from_numpy(1 + targets).to(plane.dtype)
        return Sample(moved.as_subclass(Tensor), plane, segments, labels, truth, entry.image_id)

    def _locate(self, entry: Entry, ids: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The row of every pixel's segment, counted from 1 with 0 for void, (H, W); and each segment's area, (S,).

        Raises:
            DatasetError: json and PNG do not hold the same ids.
        """
        where = f"image {entry.image_id} of {self.annotations}"
        known = np.concatenate([[0], entry.segments[:, 0]]).astype(np.int32)
        rows = np.searchsorted(known, ids)
        found = known[np.minimum(rows, len(known) - 1)]
        if not np.array_equal(found, ids):
            unknown = ids[found != ids].min()
            raise DatasetError(
                f"{self.segments / entry.png} holds segment id {unknown}, which is not in segments_info of {where}: "
                "list the segment there, or paint it 0 (void)"
            )
        areas = np.bincount(rows.ravel(), minlength=len(known))[1:]
        absent = areas + entry.segments[:, 3] == 0
        if absent.any():
            missing = known[1:][absent][0]
            raise DatasetError(
                f"segment id {missing} of {where} has no pixel in {self.segments / entry.png}: "
                "remove the segment from segments_info, or replace the PNG"
            )
        return rows, areas
