"""Merges the same masks with many sets of scores: exactly the maps of :mod:`opsnet.panoptic.merge` at lower cost.

The algorithm is in :mod:`opsnet.ops.sparse_contest`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from opsnet.ops.sparse_contest import SparseContest, Winners
from opsnet.panoptic.mask_filtering import Filtered
from opsnet.panoptic.merge import name_segments
from opsnet.structures import PanopticMap, Segment

Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Merged:
    """The result of a merge with one set of scores.

    Attributes:
        segments: S segments, as in the map of the dense merge.
        overlaps: (R, 1 + S) int64 on the CPU: pixels that each region shares with void (column 0) and each segment.
        map: the map itself, if requested.
    """

    segments: tuple[Segment, ...]
    overlaps: Tensor
    map: PanopticMap | None


class SparseMerge:
    """Masks of one image, prepared for many merges.

    Args:
        groups: probabilities (n, H, W) in 0..1 in consecutive groups, K proposals in total.
        regions: (H, W) int64 in 0..R-1; ``Merged.overlaps`` counts pixels per region.
        count: R.
        is_thing: whether each label is a thing.
        iou: (K,) predicted IoU, copied to the segments.
        overlap: as in :func:`opsnet.panoptic.merge.merge_panoptic`.
    """

    def __init__(
        self, groups: Iterable[Tensor], regions: Tensor, count: int, is_thing: Sequence[bool], *, iou: Tensor,
        overlap: float = 0.8,
    ) -> None:  # fmt: skip
        self.is_thing, self.overlap = is_thing, overlap
        self._contest = SparseContest(groups, regions, count, masks=len(iou), dtype=iou.dtype)
        self._areas, self._ious = self._contest.areas.cpu().numpy(), iou.double().cpu().numpy()

    def merge(self, filtered: Filtered, *, with_map: bool = False) -> Merged:
        """As :func:`opsnet.panoptic.merge.merge_panoptic`.

        Args:
            filtered: (K,) each, from Mask Filtering.
            with_map: whether to create the map too.
        """
        return self.merge_all(Filtered(*(values[None] for values in filtered)), with_map=[with_map])[0]

    def merge_all(
        self, filtered: Filtered, *, with_map: Sequence[bool], overlaps: Sequence[float] | None = None
    ) -> list[Merged]:
        """Merges with many sets of scores.

        Args:
            filtered: (S, K) each.
            with_map: whether to create the map, per set.
            overlaps: replace ``overlap``, per set.
        """
        rules = overlaps or [self.overlap] * len(with_map)
        columns = (filtered.keep, filtered.scores.double(), filtered.labels.double())
        keep, scores, labels = (column.cpu().numpy() for column in columns)
        filled = keep.any(1).nonzero()[0].tolist()
        contests = self._contest.run(filtered.merge_scores[filled], filtered.keep[filled])
        found = {}
        for i, winners in zip(filled, contests, strict=True):
            which = keep[i].nonzero()[0]
            found[i] = self._name(winners, which, scores[i], labels[i], painted=with_map[i], overlap=rules[i])
        return [found[i] if i in found else self._nothing() for i in range(len(keep))]

    def _name(
        self, winners: Winners, which: Array, scores: Array, labels: Array, *, painted: bool, overlap: float
    ) -> Merged:  # fmt: skip
        """Segments of the proposals ``which`` (J,) that one set keeps."""
        won = winners.shares.sum(0)
        columns = (self._areas, won.sum(-1), won[:, 1], scores, labels, self._ious)
        rows = np.stack([column[which] for column in columns], axis=-1).tolist()
        id_of, segments = name_segments(rows, self.is_thing, overlap)
        shared = _by_segment(winners.shares, which, id_of, len(segments))
        ids = torch.zeros(len(won), dtype=torch.int64)
        ids[which] = torch.tensor(id_of)
        image = PanopticMap(winners.paint(ids), segments) if painted else None
        return Merged(segments, torch.from_numpy(shared), image)

    def _nothing(self) -> Merged:
        totals = self._contest.totals()
        ids = torch.zeros(self._contest.size, dtype=torch.int64, device=totals.device)
        return Merged((), totals[:, None].cpu(), PanopticMap(ids, ()))


def _by_segment(shares: Array, which: Array, id_of: Sequence[int], count: int) -> Array:
    """Pixels (R, K, 2) won by each proposal -> pixels of void and of each segment, (R, 1 + S)."""
    overlaps: Array = np.zeros((len(shares), 1 + count), np.int64)
    np.add.at(overlaps.T, id_of, shares[:, which, 1].T)
    overlaps[:, 0] = shares.sum((1, 2)) - overlaps[:, 1:].sum(1)
    return overlaps
