"""Which mask wins each pixel: the highest product of a score and a probability."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

CACHE_ELEMENTS = 2**18
"""Masks at a time hold so many numbers on a CPU, for their products to stay in its cache."""


class Contest(NamedTuple):
    """The winner of each pixel.

    Attributes:
        winner: (H, W) int64, the number of the mask; the first among equals. A pixel with a nan goes to the first mask
            of all, outside it.
        inside: (H, W) bool, whether the pixel lies inside the winner's mask (probability 0.5 and more).
        areas: (K,), pixels of each mask.
    """

    winner: Tensor
    inside: Tensor
    areas: Tensor


def contest_reference(masks: Tensor, scores: Tensor) -> Contest:
    """The winner of each pixel, from all masks at once.

    Args:
        masks: probabilities (K, H, W) in 0..1, K of 1 and more.
        scores: (K,), not negative.
    """
    products = scores[:, None, None] * masks
    undefined = products.isnan().any(0)
    winner = products.argmax(0).masked_fill(undefined, 0)
    inside = masks.gather(0, winner[None])[0] >= 0.5
    return Contest(winner, inside & ~undefined, (masks >= 0.5).flatten(1).sum(1))


def contest(groups: Iterable[Tensor], scores: Tensor, size: tuple[int, int]) -> Contest:
    """As :func:`contest_reference`, from a few masks at a time; equal to it (with a nan, if all masks are one group).

    Args:
        groups: probabilities (n, H, W), group after group, K in all; see :func:`in_groups`. Up to 16,383 masks.
        scores: (K,), not negative, of the masks' precision or a higher one.
        size: (H, W).
    """
    best = torch.full(size, -torch.inf, dtype=scores.dtype, device=scores.device)
    # Twice the winner's number, and one more where it wins inside its mask. Later numbers are larger, so a maximum
    # takes over what a better mask wins; on a CPU PyTorch is many times slower at maxima with an index.
    code = torch.zeros(size, dtype=torch.int16, device=scores.device)
    areas: list[Tensor] = []
    first = 0
    for masks in groups:
        # Not in place: masks of bf16 would round the products, and equals would go to the first instead of the best.
        products = scores[first : first + len(masks), None, None] * masks
        inside = masks >= 0.5
        areas.append(inside.flatten(1).sum(1, dtype=torch.int32))
        top, own = _best_of_group(products, inside, first)
        torch.maximum(code, own.mul_((top > best).short()), out=code)
        torch.maximum(best, top, out=best)
        first += len(masks)
    return Contest((code >> 1).long(), (code & 1).bool(), torch.cat(areas))


def _best_of_group(products: Tensor, inside: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """The largest product (H, W) of a group (n, H, W) whose first mask has the number ``first``, and its code."""
    count = len(products)
    if count == 1:
        return products[0], inside[0].short().add_(2 * first)
    top = products.amax(0)
    places = torch.arange(count, 0, -1, dtype=torch.int16, device=products.device)[:, None, None]
    index = count - ((products == top) * places).amax(0).clamp_(min=1)  # nothing equals a nan
    return top, inside.gather(0, index[None].long())[0].short() + 2 * (first + index)


def in_groups(kept: Tensor, size: tuple[int, int]) -> tuple[Tensor, ...]:
    """Which masks of ``size`` to take at a time, (n,) of ``kept`` each: what a CPU's cache holds, all on a GPU."""
    few = CACHE_ELEMENTS // (size[0] * size[1]) if kept.device.type == "cpu" else len(kept)
    return kept.split(max(1, few))
