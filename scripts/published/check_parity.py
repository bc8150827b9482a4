"""Compares a Mask2Former of transformers with the same weights in this project on a random image.

Usage: python -m scripts.published.check_parity FOLDER [--size HEIGHTxWIDTH] [--json]

FOLDER holds config.json and model.safetensors, as written by ``save_pretrained`` or downloaded from the hub. Prints the
largest absolute differences of the masks, of the queries after the last layer and of the masks after every layer, and
the largest value of each. The exit status is 1 if a difference exceeds 1e-4 of that value.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from opsnet.segmenter.backbone import Backbone
from opsnet.segmenter.pixel_decoder import PixelDecoder
from opsnet.segmenter.published.checkpoints import load_published
from opsnet.segmenter.query_decoder import QueryDecoder
from opsnet.utils.errors import InputError, exit_on_user_error

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Difference:
    """The largest difference of two tensors, and the largest value of the peer's."""

    name: str
    difference: float
    largest: float

    @property
    def equal(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.difference <= TOLERANCE * max(1.0, self.largest)


class Segmenter(nn.Module):
    """Mask2Former built from this project's parts, with the sizes in a configuration of transformers.

    Args:
        config: a ``Mask2FormerConfig``.

    Raises:
        InputError: its backbone is neither a ResNet nor a Swin.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.backbone = _backbone(config.backbone_config)
        self.pixel_decoder = PixelDecoder(
            in_channels=self.backbone.channels,
            dim=config.feature_size,
            mask_dim=config.mask_feature_size,
            layers=config.encoder_layers,
            heads=config.num_attention_heads,
            hidden=config.encoder_feedforward_dim,
        )
        self.query_decoder = QueryDecoder(
            mask_dim=config.mask_feature_size,
            clip_dim=1,
            dim=config.hidden_dim,
            layers=config.decoder_layers - 1,
            heads=config.num_attention_heads,
            hidden=config.dim_feedforward,
            queries=config.num_queries,
            clip_attention=None,
        )

    def forward(self, images: Tensor, *, return_intermediate: bool = False) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Normalised images (B, 3, H, W) -> last queries (B, K, dim) before their norm, masks of every layer."""
        queries: list[Tensor] = []
        hook = self.query_decoder.norm.register_forward_hook(lambda module, inputs, output: queries.append(inputs[0]))
        features = self.pixel_decoder(self.backbone(images))
        proposals = self.query_decoder(
            features, images.new_zeros(len(images), 1, 1, 1), return_intermediate=return_intermediate
        )
        hook.remove()
        if proposals.supervision is None:
            return queries[-1], (proposals.mask_logits,)
        return queries[-1], tuple(proposals.supervision.mask_logits())


def _backbone(config: Any) -> Backbone:
    plain: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}  # the image is random already
    if config.model_type == "swin":
        sizes = {name: getattr(config, name) for name in ("embed_dim", "window_size", "mlp_ratio")}
        sizes |= {name: tuple(getattr(config, name)) for name in ("depths", "num_heads")}
        return Backbone(name="swin_tiny_patch4_window7_224", model_args=sizes, output_norms=True, **plain)
    if config.model_type == "resnet":
        bottleneck = config.layer_type == "bottleneck"
        channels = [c // 4 if bottleneck else c for c in config.hidden_sizes]
        args = {"layers": tuple(config.depths), "channels": channels}
        name = "resnet50" if bottleneck else "resnet18"
        return Backbone(name=name, out_indices=[1, 2, 3, 4], model_args=args, frozen_norms=True, **plain)
    raise InputError(f"backbone_config.model_type is '{config.model_type}', but only ResNets and Swins are supported")


def compare(folder: Path, size: tuple[int, int] = (640, 640), *, seed: int = 0) -> list[Difference]:
    """Runs both on a random image of ``size`` (height, width).

    Raises:
        InputError: transformers is not installed, or the folder holds no Mask2Former.
    """
    peer = _load_peer(folder)
    ours = Segmenter(peer.config)
    print(load_published(ours, folder), file=sys.stderr)
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        queries, masks = ours.eval()(image, return_intermediate=True)
        theirs = peer(image, output_hidden_states=True, output_auxiliary_logits=True)
    hidden = theirs.transformer_decoder_last_hidden_state
    expected = [auxiliary["masks_queries_logits"] for auxiliary in theirs.auxiliary_logits]
    found = [
        _difference("mask_logits", masks[-1], theirs.masks_queries_logits),
        _difference("queries", queries, hidden if hidden.shape == queries.shape else hidden.transpose(0, 1)),
    ]
    layers = zip(masks[:-1], expected, strict=True)
    return found + [_difference(f"intermediate_masks[{i}]", a, b) for i, (a, b) in enumerate(layers)]


def _load_peer(folder: Path) -> Any:
    try:
        from transformers import Mask2FormerForUniversalSegmentation
        from transformers.utils import logging
    except ImportError as error:
        raise InputError(
            "this script compares with transformers, which is not installed: pip install -e .[dev]"
        ) from error
    if not (folder / "config.json").is_file():
        raise InputError(f"folder {folder} holds no config.json: give a folder of transformers' Mask2Former")
    logging.disable_progress_bar()
    try:
        return Mask2FormerForUniversalSegmentation.from_pretrained(folder, dtype=torch.float32).eval()
    except Exception as error:  # many types: a foreign configuration, a truncated file
        raise InputError(f"transformers cannot load {folder} ({' '.join(str(error).split())[:200]})") from error


def _difference(name: str, ours: Tensor, theirs: Tensor) -> Difference:
    return Difference(name, float((ours - theirs).abs().max()), float(theirs.abs().max()))


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    return int(height), int(width or height)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the differences as a table, or as json with ``--json``; returns 1 if they exceed the tolerance."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="of a Mask2Former of transformers: config.json, model.safetensors")
    parser.add_argument("--size", type=_size, default=(640, 640), metavar="HxW", help="of the image, in pixels")
    parser.add_argument("--json", action="store_true", help="print json instead of a table")
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        found = compare(options.folder, options.size)
    if options.json:
        print(json.dumps([{**asdict(d), "equal": d.equal} for d in found], indent=2))
    else:
        height, width = options.size
        table = Table(
            "tensor", "largest difference", "largest value", "equal", title=f"One image of {height} x {width}"
        )
        for d in found:
            table.add_row(d.name, f"{d.difference:.1e}", f"{d.largest:.2f}", "yes" if d.equal else "NO")
        Console().print(table)
    return 0 if all(d.equal for d in found) else 1


if __name__ == "__main__":
    sys.exit(main())
