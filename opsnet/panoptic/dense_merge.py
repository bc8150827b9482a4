"""Merges the same masks with many sets of scores one after the other, as in :mod:`opsnet.panoptic.merge`.

For GPUs, on which a dense merge takes 0.2 ms, and the many small operations of :mod:`opsnet.panoptic.sparse_merge` take
twenty times as long (docs/gpu.md); on a CPU it is the other way round. And for images so large that their masks do not
fit into memory at full size, which are upsampled again for each set of scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from opsnet.panoptic.mask_filtering import Filtered
from opsnet.panoptic.merge import merge_masks, merge_panoptic
from opsnet.panoptic.sparse_merge import Merged
from opsnet.structures import PanopticMap


class DenseMerge:
    """Masks of one image, kept at full size for many merges; arguments and results as in ``SparseMerge``."""

    def __init__(
        self, groups: Iterable[Tensor], regions: Tensor, count: int, is_thing: Sequence[bool], *, iou: Tensor,
        overlap: float = 0.8,
    ) -> None:  # fmt: skip
        parts = list(groups)
        self._masks = torch.cat(parts) if parts else iou.new_zeros(0, *regions.shape)
        self._regions, self._count = regions, count
        self._is_thing, self._iou, self._overlap = is_thing, iou, overlap

    def merge_all(
        self, filtered: Filtered, *, with_map: Sequence[bool], overlaps: Sequence[float] | None = None
    ) -> list[Merged]:
        """Merges with many sets of scores, (S, K) each; see ``SparseMerge.merge_all``."""
        rules = overlaps or [self._overlap] * len(with_map)
        sets = zip(*filtered, with_map, rules, strict=True)
        return [self._merge(Filtered(*values), painted, rule) for *values, painted, rule in sets]

    def _merge(self, filtered: Filtered, painted: bool, overlap: float) -> Merged:
        found = self._map(filtered, overlap)
        width = 1 + len(found.segments)
        shared = torch.bincount((self._regions * width + found.ids).flatten(), minlength=self._count * width)
        return Merged(found.segments, shared.view(-1, width).cpu(), found if painted else None)

    def _map(self, filtered: Filtered, overlap: float) -> PanopticMap:
        return merge_panoptic(
            self._masks, filtered.scores, filtered.labels, filtered.keep, self._is_thing, iou=self._iou,
            merge_scores=filtered.merge_scores, overlap=overlap,
        )  # fmt: skip


class RepeatedMerge(DenseMerge):
    """As :class:`DenseMerge`, with few masks at full size at a time, in the time of a prediction per set of scores.

    Args:
        logits: (K, h, w) of the masks.
        padded, valid: see :func:`opsnet.panoptic.merge.upsample_masks`.
        regions, count, is_thing, iou: as in ``SparseMerge``.
    """

    def __init__(
        self, logits: Tensor, padded: tuple[int, int], valid: tuple[int, int], regions: Tensor, count: int,
        is_thing: Sequence[bool], *, iou: Tensor,
    ) -> None:  # fmt: skip
        super().__init__((), regions, count, is_thing, iou=iou)
        self._logits, self._padded, self._valid = logits, padded, valid

    def _map(self, filtered: Filtered, overlap: float) -> PanopticMap:
        kept = filtered.keep.nonzero()[:, 0]
        return merge_masks(
            self._logits[kept], filtered.scores[kept], filtered.labels[kept], self._is_thing, padded=self._padded,
            valid=self._valid, size=(self._regions.shape[0], self._regions.shape[1]), iou=self._iou[kept],
            merge_scores=filtered.merge_scores[kept], overlap=overlap,
        )  # fmt: skip
