"""One image's ground truth, indexed once so that many predictions can be counted against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from opsnet.metrics.image_overlaps import ImageOverlaps, segment_table
from opsnet.metrics.panoptic_arithmetic import SegmentTable, dense_index
from opsnet.structures import GroundTruth, Segment


@dataclass(frozen=True)
class GroundTruthRegions:
    """The regions of a ground truth with G segments.

    Attributes:
        index: (H, W) int64, 0 for void, else 1 + the segment's position in the list.
        table: its segments.
        num_classes: C.
    """

    index: Tensor
    table: SegmentTable
    num_classes: int

    @classmethod
    def of(cls, truth: GroundTruth, num_classes: int) -> GroundTruthRegions:
        """Indexes a ground truth.

        Raises:
            ValueError: the map and its segments disagree, or a label is out of range.
        """
        table = segment_table(truth.segments, "truth", num_classes)
        ids = truth.ids.detach().cpu().numpy()
        # Maps are piecewise constant: see overlap_table.
        starts = np.flatnonzero(np.diff(ids.ravel(), prepend=ids.ravel()[:1] - 1))
        index = np.repeat(dense_index(ids.ravel()[starts], table), np.diff(starts, append=ids.size))
        return cls(torch.from_numpy(index.reshape(ids.shape)).to(truth.ids.device), table, num_classes)

    def __len__(self) -> int:
        return 1 + len(self.table.ids)

    def overlaps(self, segments: Sequence[Segment], pixels: Tensor) -> ImageOverlaps:
        """As ``image_overlaps``, from S segments and their pixels in each region, (1 + G, 1 + S) int64."""
        prediction = segment_table(segments, "prediction", self.num_classes)
        return ImageOverlaps(pixels.cpu().numpy(), self.table, prediction, self.num_classes)
