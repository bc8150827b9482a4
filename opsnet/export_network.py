"""OPSNet as one function of tensors, for a file that other programs run: a picture and a matrix of words in, masks out.

What lies fixed inside: the weights, CLIP's image encoder, the names of the training as text embeddings, the no-object
embedding, alpha and beta. The words to predict with are an input, so another vocabulary needs no other file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from opsnet.model import Modulation, OPSNet
from opsnet.structures import TextBank

INPUTS = ("image", "text", "concept")
OUTPUTS = ("mask_logits", "logits", "no_object", "iou")
SIZE_DIVISOR = 32  # pixels; the coarsest stride of any backbone
SMALLEST = 64  # pixels of an open side: tracing takes a map of one cell for a special case


class ExportNetwork(nn.Module):
    """The network and its recognition with plain tensors in and out.

    Args:
        model: in evaluation mode, on the CPU.
        train: the names that it was trained with.
        modulation: how the two embeddings become logits.
    """

    def __init__(self, model: OPSNet, train: TextBank, modulation: Modulation) -> None:
        super().__init__()
        self.model, self.modulation, self._train = model, modulation, train
        self.train_text: Tensor
        self.register_buffer("train_text", train.embeds, persistent=False)

    def forward(self, image: Tensor, text: Tensor, concept: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Names one picture's proposals.

        Args:
            image: (1, 3, H, W), RGB in 0..1; H and W multiples of 32, padded with zeros at the right and bottom.
            text: (R, D), L2-normalised, the rows of a concept's names, concept by concept.
            concept: (R,) int64, the concept 0..M-1 of each row; R = M where every concept has one name.

        Returns:
            Mask logits (1, K, h, w), logits (1, K, R) of the concepts, those from column M on minus infinity, no-object
            logits (1, K), and predicted mask IoU (1, K) in 0..1.
        """
        proposals, clip_map = self.model(image)
        embeddings = self.model.embed(proposals, clip_map, (image.shape[-2], image.shape[-1]))
        target = _OpenBank("input", (), torch.zeros(0), text, concept)
        logits, no_object = self.modulation(embeddings, target, self._train, self.model.void_embed)
        return proposals.mask_logits, logits, no_object, proposals.iou


@dataclass(frozen=True)
class _OpenBank(TextBank):
    """A text bank whose number of concepts is not known while it is traced: as many places as rows, some left empty."""

    def __post_init__(self) -> None:
        pass

    def of_concepts(self, values: Tensor) -> Tensor:
        """Values of the rows, (..., R) -> of the concepts, (..., R), minus infinity from M on."""
        assert self.concept is not None
        empty = torch.full_like(values, -math.inf)
        return empty.scatter_reduce(-1, self.concept.expand_as(values), values, "amax")

    def mean(self, values: Tensor) -> Tensor:
        """Of the M values (R,) that are some concept's."""
        assert self.concept is not None
        used = torch.zeros_like(values).scatter(0, self.concept, torch.ones_like(values))
        return (values * used).sum() / used.sum()


def trace(network: ExportNetwork, height: int | None, width: int | None) -> torch.export.ExportedProgram:
    """The network as a graph.

    Args:
        network: to trace.
        height, width: pixels of the padded picture, multiples of 32; ``None`` leaves a side open.
    """
    dims = [torch.export.Dim(name, min=SMALLEST // SIZE_DIVISOR, max=256) for name in ("rows", "columns")]
    sides = {2 + i: SIZE_DIVISOR * dims[i] for i, side in enumerate((height, width)) if side is None}
    rows = torch.export.Dim("names", min=1, max=2**20)
    example = torch.zeros(1, 3, height or 5 * SIZE_DIVISOR, width or 7 * SIZE_DIVISOR)
    text = network.train_text[:3].clone()
    shapes: dict[str, Any] = {"image": sides, "text": {0: rows}, "concept": {0: rows}}
    with torch.no_grad():
        return torch.export.export(
            network, (example, text, torch.arange(len(text))), dynamic_shapes=shapes, strict=False
        )
