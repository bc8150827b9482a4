"""Merges the same masks with many sets of scores one after the other: as in :mod:`opsnet.panoptic.merge`, for GPUs.

On a GPU a dense merge takes 0.2 ms, and the many small operations of :mod:`opsnet.panoptic.sparse_merge` take twenty
times as long (docs/benchmarks.md, "GPU"); on a CPU it is the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from opsnet.panoptic.mask_filtering import Filtered
from opsnet.panoptic.merge import merge_panoptic
from opsnet.panoptic.sparse_merge import Merged


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
        found = merge_panoptic(
            self._masks, filtered.scores, filtered.labels, filtered.keep, self._is_thing, iou=self._iou,
            merge_scores=filtered.merge_scores, overlap=overlap,
        )  # fmt: skip
        width = 1 + len(found.segments)
        shared = torch.bincount((self._regions * width + found.ids).flatten(), minlength=self._count * width)
        return Merged(found.segments, shared.view(-1, width).cpu(), found if painted else None)
