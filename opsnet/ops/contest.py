"""Assigns each pixel to the mask with the highest product of score and probability."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

CACHE_ELEMENTS = 2**18
"""Number of mask values processed at a time on a CPU, so that the products stay in its cache."""


class Contest(NamedTuple):
    """The winner of each pixel.

    Attributes:
        winner: (H, W) int64, index of the mask; the first one in case of a tie. A pixel with a nan is assigned to the
            first mask, as lying outside of it.
        inside: (H, W) bool, whether the pixel lies inside the winner's mask (probability of at least 0.5).
        areas: (K,), number of pixels of each mask.
    """

    winner: Tensor
    inside: Tensor
    areas: Tensor


def contest_reference(masks: Tensor, scores: Tensor) -> Contest:
    """The winner of each pixel, computed from all masks at once.

    Args:
        masks: probabilities (K, H, W) in 0..1, K at least 1.
        scores: (K,), not negative.
    """
    products = scores[:, None, None] * masks
    undefined = products.isnan().any(0)
    winner = products.argmax(0).masked_fill(undefined, 0)
    inside = masks.gather(0, winner[None])[0] >= 0.5
    return Contest(winner, inside & ~undefined, (masks >= 0.5).flatten(1).sum(1))


def contest(groups: Iterable[Tensor], scores: Tensor, size: tuple[int, int]) -> Contest:
    """Equal to :func:`contest_reference`, but processes a few masks at a time (with nan: equal for a single group).

    Args:
        groups: probabilities (n, H, W) in consecutive groups, K in total, see :func:`in_groups`; at most 16,383 masks.
        scores: (K,), not negative, in the masks' precision or a higher one.
        size: (H, W).
    """
    codes = contest_codes(groups, scores, size)
    return Contest((codes.code >> 1).long(), (codes.code & 1).bool(), codes.areas)


class ContestCodes(NamedTuple):
    """The result of a contest in the least memory, which counts for an image of many megapixels.

    Attributes:
        code: (H, W) int16, twice the winner's index, plus one where the pixel is inside its mask.
        areas: (K,), as in :class:`Contest`.
    """

    code: Tensor
    areas: Tensor

    def counts(self) -> tuple[Tensor, Tensor]:
        """Number of pixels that each mask wins, and wins inside the mask, (K,) each."""
        masks = len(self.areas)
        by_code = self.areas.new_zeros(2 * masks, dtype=torch.int64)
        for rows in bands(self.code.shape, self.code.device):
            by_code += torch.bincount(self.code[rows].flatten(), minlength=2 * masks)
        pairs = by_code.view(masks, 2)
        return pairs.sum(1), pairs[:, 1]

    def paint(self, ids: Tensor) -> Tensor:
        """(H, W) int64: the winner's entry of ``ids`` (K,) where the pixel is inside its mask, 0 elsewhere."""
        by_code = torch.stack((torch.zeros_like(ids), ids), dim=1).flatten()
        painted = torch.empty(self.code.shape, dtype=torch.int64, device=ids.device)
        for rows in bands(self.code.shape, self.code.device):
            painted[rows] = by_code[self.code[rows].int()]
        return painted


def contest_codes(groups: Iterable[Tensor], scores: Tensor, size: tuple[int, int]) -> ContestCodes:
    """As :func:`contest`, with the winners as codes.

    Args:
        groups, scores, size: see :func:`contest`.
    """
    best = torch.full(size, -torch.inf, dtype=scores.dtype, device=scores.device)
    # Twice the winner's index, plus one where the pixel is inside its mask. Later indices are larger, so a maximum
    # selects the better mask; on a CPU maxima with an index are many times slower in PyTorch.
    code = torch.zeros(size, dtype=torch.int16, device=scores.device)
    areas: list[Tensor] = []
    first = 0
    for masks in groups:
        own_areas = torch.zeros(len(masks), dtype=torch.int32, device=masks.device)
        for rows in bands(size, masks.device):  # a single band unless a single mask exceeds the cache
            band = masks[:, rows]
            # Not in place: bf16 masks would round the products and create ties.
            products = scores[first : first + len(masks), None, None] * band
            inside = band >= 0.5
            own_areas += inside.flatten(1).sum(1, dtype=torch.int32)
            top, own = _best_of_group(products, inside, first)
            torch.maximum(code[rows], own.mul_((top > best[rows]).short()), out=code[rows])
            torch.maximum(best[rows], top, out=best[rows])
        areas.append(own_areas)
        first += len(masks)
    return ContestCodes(code, torch.cat(areas))


def bands(size: Sequence[int], device: torch.device) -> list[slice]:
    """Rows of a map of ``size`` to process at a time: by cache size on a CPU, all on a GPU."""
    height, width = size
    rows = max(1, CACHE_ELEMENTS // width) if device.type == "cpu" else height
    return [slice(begin, begin + rows) for begin in range(0, height, rows)]


def _best_of_group(products: Tensor, inside: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """The largest product (H, W) of a group (n, H, W) whose first mask has the index ``first``, and its code."""
    count = len(products)
    if count == 1:
        return products[0], inside[0].short().add_(2 * first)
    top = products.amax(0)
    places = torch.arange(count, 0, -1, dtype=torch.int16, device=products.device)[:, None, None]
    index = count - ((products == top) * places).amax(0).clamp_(min=1)  # a nan equals nothing
    return top, inside.gather(0, index[None].long())[0].short() + 2 * (first + index)


def in_groups(kept: Tensor, size: tuple[int, int]) -> tuple[Tensor, ...]:
    """Splits masks ``kept`` of ``size`` into groups (n,) to process at a time: by cache size on a CPU, one on a GPU."""
    few = CACHE_ELEMENTS // (size[0] * size[1]) if kept.device.type == "cpu" else len(kept)
    return kept.split(max(1, few))
