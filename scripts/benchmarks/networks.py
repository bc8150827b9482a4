"""Benchmarks of networks, whole and in parts, for ``python -m scripts.benchmarks.pairs``."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.losses.cross_entropy import CrossEntropy
from opsnet.losses.dice import Dice
from opsnet.losses.iou import IoURegression
from opsnet.losses.layer_predictions import LayerPredictions
from opsnet.losses.mask_bce import MaskBCE
from opsnet.losses.matching import HungarianMatcher
from opsnet.losses.predictions import MatchedPredictions
from opsnet.losses.weighted_sum import Losses
from opsnet.recognition.recognizer import cosine_logits
from opsnet.segmenter.pixel_decoder import PixelFeatures
from opsnet.segmenter.published.layouts import CLASS_HEAD, convert
from opsnet.training.optim import adamw
from opsnet.vocabulary import Vocabulary
from scripts.benchmarks.pair import Pair, relative_error
from scripts.benchmarks.untrained import random_targets
from scripts.published.check_parity import Segmenter

NAMES, QUERIES = 133, 100


def _peer(seed: int = 0) -> Any:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, ResNetConfig

    torch.manual_seed(seed)
    backbone = ResNetConfig(out_features=["stage1", "stage2", "stage3", "stage4"])
    config = Mask2FormerConfig(backbone_config=backbone, num_labels=NAMES, num_queries=QUERIES)
    return Mask2FormerForUniversalSegmentation(config).eval()


def _both() -> tuple[Segmenter, Any]:
    peer = _peer()
    ours = Segmenter(peer.config)
    state = {k: v for k, v in convert(peer.state_dict()).state.items() if not k.startswith(CLASS_HEAD)}
    ours.load_state_dict(state, strict=False)
    return ours.eval().to(memory_format=torch.channels_last), peer


def forward() -> Pair:
    """R50, one image of 640 x 640, both in fp32."""
    ours, peer = _both()
    image = torch.randn(1, 3, 640, 640)
    fast = image.contiguous(memory_format=torch.channels_last)
    error = (_masks(ours, fast) - _peer_masks(peer, image)).abs().max()
    return Pair(lambda: _masks(ours, fast), lambda: _peer_masks(peer, image), f"masks within {float(error):.1e}")


def forward_bf16() -> Pair:
    """The same, ours in bf16 autocast and the peer in fp32."""
    ours, peer = _both()
    image = torch.randn(1, 3, 640, 640)
    fast = image.contiguous(memory_format=torch.channels_last)

    def half() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return _masks(ours, fast)

    same = ((half() >= 0) == (_peer_masks(peer, image) >= 0)).float().mean()
    return Pair(half, lambda: _peer_masks(peer, image), f"{float(same):.2%} of the mask signs equal")


@torch.no_grad()
def _masks(ours: Segmenter, image: Tensor) -> Tensor:
    return ours(image)[1][-1]


@torch.no_grad()
def _peer_masks(peer: Any, image: Tensor) -> Tensor:
    masks: Tensor = peer(image).masks_queries_logits
    return masks


def training_step() -> Pair:
    """Forward, losses, backward and AdamW, R50, two images of 256 x 256 with eight segments each."""
    ours, peer = _both()
    ours.query_decoder.embed_head = torch.nn.Linear(256, 1024)
    torch.manual_seed(0)
    images, targets = torch.randn(2, 3, 256, 256), random_targets(2, 8, 256, NAMES)
    bank, matcher = F.normalize(torch.randn(NAMES + 1, 1024), dim=-1), HungarianMatcher()
    losses = Losses({
        "cross_entropy": CrossEntropy(weight=2.0), "mask_bce": MaskBCE(weight=5.0), "dice": Dice(weight=5.0),
        "iou": IoURegression(weight=4.0),
    })  # fmt: skip
    optimizers = [adamw(ours, lr=1e-6), torch.optim.AdamW(peer.parameters(), lr=1e-6)]
    ours.train(), peer.train()

    def step_ours() -> float:
        features = ours.pixel_decoder(ours.backbone(images.contiguous(memory_format=torch.channels_last)))
        proposals = ours.query_decoder(features, images.new_zeros(2, 1, 1, 1))
        layers = [
            LayerPredictions(cosine_logits(q.query_embeds, bank), q.mask_embeds, q.iou)
            for q in proposals.supervision.layers
        ]
        matched = MatchedPredictions.match(layers, features.pixels, targets, matcher)
        return _descend(losses(matched)["loss"], optimizers[0])

    def step_peer() -> float:
        masks = [m.float() for m in targets.masks]
        loss = peer(images, mask_labels=masks, class_labels=list(targets.labels)).loss
        return _descend(loss.sum(), optimizers[1])

    return Pair(step_ours, step_peer, "the same work; ours also embeds and predicts IoU")


def _descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.detach())


def decoder() -> Pair:
    """The query decoder only: nine layers on the memory of a image of 640 x 640, as at inference."""
    ours, peer = _both()
    torch.manual_seed(0)
    memory = tuple(torch.randn(1, 256, side, side) for side in (20, 40, 80))
    features, clip_map = PixelFeatures(memory, torch.randn(1, 256, 160, 160)), torch.zeros(1, 1, 1, 1)

    @torch.no_grad()
    def run_ours() -> Tensor:
        masks: Tensor = ours.query_decoder(features, clip_map).mask_logits
        return masks

    @torch.no_grad()
    def run_peer() -> Tensor:
        masks: Tensor = peer.model.transformer_module(list(memory), features.pixels).masks_queries_logits[-1]
        return masks

    error = relative_error(run_ours(), run_peer())
    return Pair(run_ours, run_peer, f"masks within {error:.1e} of the norm")


def text() -> Pair:
    """Sixteen names in RN50's text encoder, against open_clip with prompts padded to 77 tokens."""
    import open_clip

    from opsnet.clip.text_encoder import TextEncoder

    torch.manual_seed(0)
    clip = open_clip.create_model("RN50-quickgelu").eval()
    tokenizer = open_clip.get_tokenizer("RN50-quickgelu")
    names = Vocabulary("names", Vocabulary.load("coco").concepts[:16])
    prompts = [f"a photo of a {name}." for name in names.names]

    def ours() -> Tensor:
        return TextEncoder(clip=clip, tokenizer=tokenizer, templates=["a photo of a {}."], synonyms=False)(names).embeds

    @torch.no_grad()
    def theirs() -> Tensor:
        embeds: Tensor = clip.encode_text(tokenizer(prompts), normalize=True)
        return embeds

    return Pair(ours, theirs, f"within {float((ours() - theirs()).abs().max()):.1e}")
