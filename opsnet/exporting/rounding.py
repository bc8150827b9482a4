"""What rounding alone changes in a network's outputs, and images for which it is little.

Masked attention decides for every position whether a mask logit is at least 0. Another runtime rounds differently, and
where a logit is nearly 0 it may decide otherwise, which changes all masks of the image by some percent. This is no
fault of an exported file: the network does the same if its weights are rounded differently. So the comparison uses
images without such ties where it finds them, and measures what rounding changes in those it uses. How much a tie
changes is chance: for images with one it is the most that was measured in any image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import reduce

import torch
from torch import Tensor

from opsnet.exporting.network import ExportNetwork
from opsnet.exporting.parity import Outputs, Rounding, difference
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.structures import Batch, TextBank

NOISE = 1e-6  # relative: about ten times the rounding of fp32, so that ties are found in few draws
DRAWS = 3
TIED = 3e-4  # change of a mask probability from which an image is regarded as one with a tie


def steadiest(
    network: ExportNetwork, candidates: Sequence[Sequence[Batch]], target: TextBank, *, filtering: MaskFiltering,
    overlap: float,
) -> tuple[list[Batch], list[Rounding]]:  # fmt: skip
    """Of each group of images, the one whose masks rounding changes least, and what it changes.

    Args:
        network: its weights are changed temporarily.
        candidates: groups of batches of one image.
        target: the vocabulary of the maps.
        filtering, overlap: of the maps.
    """
    images = [batch for group in candidates for batch in group]
    exact = [_run(network, batch, target) for batch in images]
    worst = [Rounding()] * len(images)
    for seed in range(DRAWS):
        with _rounded(network, seed):
            for i, batch in enumerate(images):
                outputs = _run(network, batch, target)
                change, _ = difference(exact[i], outputs, batch, target, filtering=filtering, overlap=overlap)
                worst[i] = _worse(worst[i], change)
    measured = iter(zip(images, worst, strict=True))
    chosen = [min((next(measured) for _ in group), key=lambda pair: pair[1].mask) for group in candidates]
    pooled = reduce(_worse, worst)
    return [batch for batch, _ in chosen], [pooled if own.mask > TIED else own for _, own in chosen]


@torch.no_grad()
def _run(network: ExportNetwork, batch: Batch, target: TextBank) -> Outputs:
    return network.forward_bank(batch.images, torch.tensor(batch.valid_sizes), target)


@contextmanager
def _rounded(network: ExportNetwork, seed: int) -> Iterator[None]:
    """Temporarily multiplies every weight by 1 plus noise."""
    model, generator = network.model, torch.Generator().manual_seed(seed)
    parts = (model.backbone, model.pixel_decoder, model.query_decoder, model.clip.image_encoder)
    weights = [w for part in parts for w in part.parameters()]
    own = [w.detach().clone() for w in weights]
    with torch.no_grad():
        for w in weights:
            w.mul_(1 + NOISE * _normal(w, generator))
    try:
        yield
    finally:
        with torch.no_grad():
            for w, values in zip(weights, own, strict=True):
                w.copy_(values)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype)


def _worse(a: Rounding, b: Rounding) -> Rounding:
    return Rounding(
        max(a.mask, b.mask), max(a.score, b.score), max(a.pixels, b.pixels), segments=a.segments or b.segments
    )
