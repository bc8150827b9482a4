"""OPSNet as one function of tensors, for export: images and a matrix of text embeddings in, masks and logits out.

The exported network contains the weights, CLIP's image encoder, the training names as text embeddings, the no-object
embedding, alpha and beta. The target vocabulary is an input, so another vocabulary needs no other file.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from opsnet.clip.frozen_clip import FrozenClip
from opsnet.model import OPSNet
from opsnet.recognition.recognizer import Recognizer, prepare
from opsnet.structures import SIZE_DIVISOR, Embeddings, TextBank
from opsnet.utils.errors import InputError

INPUTS = ("image", "size", "text", "concept")
OUTPUTS = ("mask_logits", "logits", "no_object", "iou")
SMALLEST, LARGEST = 64, 8192  # pixels of a dynamic side: tracing specializes on feature maps of one cell
METADATA = "opsnet"  # metadata key in an ONNX file, extra file in a .pt2


class ExportError(InputError):
    """A network or configuration cannot be exported; the message names the fix."""


class ExportNetwork(nn.Module):
    """The network and its recognizer with plain tensors as inputs and outputs.

    Args:
        model: in evaluation mode, on the CPU; its CLIP runs in fp32.
        train: text bank of the training names.
        recognizer: computes logits from both embeddings.
    """

    def __init__(self, model: OPSNet, train: TextBank, recognizer: Recognizer) -> None:
        super().__init__()
        self.model, self.recognizer, self.train_bank = model, recognizer, train
        model.clip.image_encoder.precision = None
        self.clip_scale = model.clip_scale()  # a number, because CLIP's text tower, which has it, is not in the graph
        self.requires_grad_(False).eval()

    def forward(
        self, image: Tensor, size: Tensor, text: Tensor, concept: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Computes masks and logits of B images.

        Args:
            image: (B, 3, H, W), RGB in 0..1; H and W multiples of 32, padded at the right and bottom.
            size: (B, 2) int64, height and width in pixels of each image inside the padding.
            text: (R, D), L2-normalised, the rows of a concept's names, concept by concept.
            concept: (R,) int64, the concept 0..M-1 of each row; R = M if every concept has one name.

        Returns:
            Mask logits (B, K, h, w), logits (B, K, R) of the concepts with minus infinity from column M on, no-object
            logits (B, K), and predicted mask IoU (B, K) in 0..1.
        """
        return self.forward_bank(image, size, _OpenBank("input", (), torch.zeros(0), text, concept))

    def forward_bank(self, image: Tensor, size: Tensor, target: TextBank) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As :meth:`forward`, but with a text bank, and logits (B, K, M)."""
        proposals, clip_map = self.model(image, size)
        pooled = self.model.clip.image_encoder.pool(clip_map, proposals.mask_logits, (image.shape[-2], image.shape[-1]))
        embeddings = Embeddings(proposals.query_embeds, pooled, self.model.query_scale(), self.clip_scale)
        names = prepare(target, self.train_bank)
        logits, no_object = self.recognizer(embeddings, names, self.model.no_object_embed)
        return proposals.mask_logits, logits, no_object, proposals.iou


@dataclass(frozen=True)
class _OpenBank(TextBank):
    """A text bank with an unknown number of concepts during tracing: one slot per row, some of them unused."""

    def __post_init__(self) -> None:
        """No checks: during tracing the number of names is unknown."""

    def max_per_concept(self, values: Tensor) -> Tensor:
        """Values per row, (..., R) -> values per concept, (..., R), minus infinity from column M on."""
        assert self.concept is not None
        empty = torch.full_like(values, -math.inf)
        return empty.scatter_reduce(-1, self.concept.expand_as(values), values, "amax")

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the M of R values that belong to a concept."""
        assert self.concept is not None
        used = torch.zeros_like(values).scatter(0, self.concept, torch.ones_like(values))
        return (values * used).sum() / used.sum()


def trace(network: ExportNetwork, height: int | None, width: int | None) -> torch.export.ExportedProgram:
    """Traces the network to a graph with dynamic batch size and number of names.

    Args:
        network: the network to trace.
        height, width: pixels of the padded images, multiples of 32; ``None``: dynamic.

    Raises:
        ExportError: a side is not a multiple of 32, or is dynamic although the backbone needs a fixed size.
    """
    for key, side in (("height", height), ("width", width)):
        if side is not None and (side < SIZE_DIVISOR or side % SIZE_DIVISOR):
            raise ExportError(f"{key} must be a multiple of {SIZE_DIVISOR} pixels (the padded side), got {side}")
    if None in (height, width) and _is_swin(network.model.backbone):
        raise ExportError("a Swin's windows need a fixed image size: give height=PIXELS width=PIXELS")
    dim = torch.export.Dim
    cells = [dim(name, min=SMALLEST // SIZE_DIVISOR, max=LARGEST // SIZE_DIVISOR) for name in ("rows", "columns")]
    sides = {2 + i: SIZE_DIVISOR * cells[i] for i, side in enumerate((height, width)) if side is None}
    names = dim("names", min=1, max=2**20)
    image = torch.zeros(2, 3, height or 5 * SIZE_DIVISOR, width or 7 * SIZE_DIVISOR)
    size = torch.tensor([image.shape[-2:]] * 2)
    text = network.train_bank.embeds[:1].repeat(3, 1)
    batch = dim("images", min=1, max=1024)
    shapes: dict[str, Any] = {"image": {0: batch, **sides}, "size": {0: batch}}
    shapes |= {"text": {0: names}, "concept": {0: names}}
    with torch.no_grad(), _without_unused(network.model.clip):
        return torch.export.export(network, (image, size, text, torch.arange(3)), dynamic_shapes=shapes, strict=False)


@contextmanager
def _without_unused(clip: FrozenClip) -> Iterator[None]:
    """Temporarily removes the parts of CLIP that are not in the graph but would be stored in the file."""
    encoder = clip.image_encoder
    unused: list[tuple[nn.Module, str]] = [(clip, "text_encoder")]
    pool = getattr(encoder.visual, "attnpool", None)
    if pool is not None and all(module is not pool for module in encoder.pooling.modules()):
        unused.append((encoder.visual, "attnpool"))
    taken = [(parent, child, getattr(parent, child)) for parent, child in unused]
    for parent, child, _ in taken:
        setattr(parent, child, None)
    try:
        yield
    finally:
        for parent, child, module in taken:
            setattr(parent, child, module)


def _is_swin(backbone: Any) -> bool:
    return any(type(module).__name__ == "_AnySizeBlock" for module in backbone.modules())


def write_graph(program: torch.export.ExportedProgram, path: Path, kind: str, metadata: str) -> None:
    """Writes a graph as one file.

    Args:
        program: the result of :func:`trace`.
        path: path to write to.
        kind: "onnx" or "pt2".
        metadata: text to store in the file, see :data:`METADATA`.
    """
    if kind == "pt2":
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No complete tensor found")  # weights that share storage
            torch.export.save(program, path, extra_files={METADATA: metadata})
        return
    for name in ("onnxscript", "onnx_ir"):  # they log every pass over the graph
        logging.getLogger(name).setLevel(logging.ERROR)
    graph = torch.onnx.export(
        program, (), input_names=INPUTS, output_names=OUTPUTS, dynamo=True, external_data=False, verbose=False
    )
    assert graph is not None
    graph.model.metadata_props[METADATA] = metadata
    graph.save(path, external_data=False)
