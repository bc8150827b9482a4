"""One training step against transformers' Mask2Former: the same weights, images, points and matching, under Lightning.

Both name their queries by text: the class predictor of transformers is replaced by cosine logits of the same names.
What OPSNet adds or draws otherwise is given to the peer, so that nothing of ours is switched off: an IoU head with its
loss, and random points that all layers share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from opsnet_from_peer import BACKBONES, opsnet_of, small_peer
from segment_losses import mask2former_losses
from torch import Tensor, nn
from transformers import Mask2FormerForUniversalSegmentation

from opsnet.losses.matching import HungarianMatcher
from opsnet.losses.point_sampling import StepPoints, StepSeeds
from opsnet.model import OPSNet
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.recognition.modulation import QueryOnly
from opsnet.segmenter.published.layouts import convert
from opsnet.structures import Batch, SegmentTargets, TextBank
from opsnet.training.module import OPSNetModule
from opsnet.training.optim import adamw, warmup_steps
from opsnet.vocabulary import Vocabulary

NAMES = ("sea", "tree", "pink flower", "sky", "horse")
SIZES, CANVAS = ((70, 121), (96, 57)), (96, 128)  # neither is a multiple of 32
SEGMENTS, POINTS = (5, 3), 200
# Ten times the published learning rate: at 1e-4 a step of weight decay moves a weight by 5e-6 of itself.
LR, DECAY, BACKBONE_LR, CLIPPING = 1e-3, 0.05, 0.1, 0.01
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
# Names of the losses here and there.
KINDS = {"cross_entropy": "cross_entropy", "mask_bce": "mask", "dice": "dice"}


def build_ours(model: OPSNet) -> OPSNetModule:
    return OPSNetModule(
        model=model,
        losses=mask2former_losses(),
        matcher=HungarianMatcher(points=POINTS),
        recognizer=QueryOnly(),
        filtering=MaskFiltering(kind="cls"),
        train_vocabulary=Vocabulary.from_names(list(NAMES)),
        optimizer=partial(adamw, lr=LR, weight_decay=DECAY, backbone_multiplier=BACKBONE_LR),
        scheduler=warmup_steps,
    )


class TextHead(nn.Module):
    """Cosine logits in place of the peer's class predictor, and the IoU that OPSNet predicts from the same queries."""

    def __init__(self, model: OPSNet, bank: TextBank) -> None:
        super().__init__()
        dim, clip_dim = model.query_decoder.embed_head.in_features, model.clip.embed_dim
        self.embed, self.iou = nn.Linear(dim, clip_dim), nn.Linear(dim, 1)
        self.embed.load_state_dict(model.query_decoder.embed_head.state_dict())
        self.iou.load_state_dict(model.query_decoder.iou_head.state_dict())
        # FC-CLIP's no-object embedding is an nn.Embedding, which is not decayed.
        self.no_object = nn.Embedding.from_pretrained(model.no_object_embed.detach()[None].clone(), freeze=False)
        self.text = bank.embeds
        self.predicted_iou: list[Tensor] = []

    def forward(self, queries: Tensor) -> Tensor:
        self.predicted_iou.append(self.iou(queries)[..., 0].sigmoid())
        names = torch.cat((self.text, self.no_object.weight))
        return 100 * torch.cosine_similarity(self.embed(queries)[:, :, None], names, dim=-1)


@dataclass
class Matching:
    """What the peer's matcher saw and answered, a layer at a time: the last layer first, then from the first on."""

    masks: Tensor
    indices: list[tuple[Tensor, Tensor]]


@pytest.fixture
def batch() -> Batch:
    """Two images of different sizes with blocks for segments, which cover them; one segment was cut away."""
    generator = torch.Generator().manual_seed(3)
    images, masks, labels = torch.zeros(2, 3, *CANVAS), [], []
    for image, (height, width), count in zip(images, SIZES, SEGMENTS, strict=True):
        image[:, :height, :width] = torch.rand(3, height, width, generator=generator)
        coarse = torch.randint(count, (1, 1, 5, 6), generator=generator).float()
        plane = F.interpolate(coarse, size=(height, width))[0, 0]
        plane = F.pad(plane, (0, CANVAS[1] - width, 0, CANVAS[0] - height), value=-1)
        masks.append(plane == torch.arange(count)[:, None, None])
        labels.append(torch.randint(len(NAMES), (count,), generator=generator))
    masks[0][2] = False
    return Batch(images, list(SIZES), [7, "b"], "custom", SegmentTargets(masks, labels))


def serve_points(monkeypatch: pytest.MonkeyPatch, points: StepPoints, images_of_masks: list[int]) -> None:
    """Gives the peer's ``torch.rand`` our points of the step, whatever it draws them for."""
    matching: Iterator[Tensor] = iter(points.matching.split(1) * 4)  # image by image, layer by layer

    def rand(*size: int, device: object = None) -> Tensor:
        if size[1] == POINTS:
            return next(matching)
        of_step = points.candidates.repeat(size[0], 1, 1), points.random_points[images_of_masks]
        (found,) = [p for p in of_step if p.shape == size]
        return found

    monkeypatch.setattr(torch, "rand", rand)


def iou_loss(predicted: list[Tensor], matchings: list[Matching], truth: list[Tensor]) -> Tensor:
    """OPSNet's section 3.4 for the peer: the IoU of each matched mask with its segment, 0 for the rest; 4 x MSE."""
    total = torch.zeros(())
    for iou, matching in zip(predicted, matchings[1:] + matchings[:1], strict=True):
        target = torch.zeros_like(iou)
        for i, (queries, segments) in enumerate(matching.indices):
            inside = matching.masks[i, queries] >= 0
            step = CANVAS[0] // inside.shape[-2]
            segment = F.avg_pool2d(truth[i][segments].float()[:, None], step)[:, 0] >= 0.5
            target[i, queries] = (inside & segment).sum((1, 2)) / (inside | segment).sum((1, 2)).clamp(min=1)
        total = total + 4 * ((iou - target) ** 2).mean()
    return total


def published_groups(peer: nn.Module) -> list[dict[str, Any]]:
    """Mask2Former's ``build_optimizer``: norms, embeddings and Swin's tables are not decayed, everything else is."""
    groups = []
    for module_name, module in peer.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            exempt = isinstance(module, (nn.LayerNorm, nn.GroupNorm, nn.Embedding)) or "relative_position_bias" in name
            lr = LR * BACKBONE_LR if module_name.startswith("model.pixel_level_module.encoder") else LR
            if parameter.requires_grad:
                groups.append({"params": [parameter], "lr": lr, "weight_decay": 0.0 if exempt else DECAY})
    return groups


def peer_step(
    peer: Mask2FormerForUniversalSegmentation, head: TextHead, batch: Batch, points: StepPoints,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Tensor]:  # fmt: skip
    """One step of the peer, gradients clipped over all weights as Mask2Former does -> its losses by kind."""
    assert isinstance(batch.targets, SegmentTargets)
    peer.class_predictor = head
    matchings: list[Matching] = []
    losses: dict[str, Tensor] = {}
    peer.criterion.matcher.register_forward_hook(lambda _, given, found: matchings.append(Matching(given[0], found)))
    peer.criterion.register_forward_hook(lambda _, given, found: losses.update(found))
    with monkeypatch.context() as patch:
        serve_points(patch, points, [i for i, n in enumerate(SEGMENTS) for _ in range(n)])
        masks = [m.float() for m in batch.targets.masks]
        found = peer(normalised(batch), mask_labels=masks, class_labels=batch.targets.labels)
    with torch.no_grad():  # weighted by now, in place
        sums = {kind: sum(v for k, v in losses.items() if k.startswith(f"loss_{kind}")) for kind in KINDS.values()}
    sums["iou"] = iou_loss(head.predicted_iou, matchings, batch.targets.masks)
    sums["loss"] = found.loss.squeeze() + sums["iou"]
    optimizer = torch.optim.AdamW(published_groups(peer), LR)
    sums["loss"].backward()
    nn.utils.clip_grad_norm_([p for p in peer.parameters() if p.requires_grad], CLIPPING)
    optimizer.step()
    return {kind: loss.detach() for kind, loss in sums.items()}


def normalised(batch: Batch) -> Tensor:
    """Normalised, then padded with zeros: the order of transformers' image processor and of detectron2."""
    images = torch.zeros_like(batch.images)
    for image, source, (height, width) in zip(images, batch.images, batch.valid_sizes, strict=True):
        image[:, :height, :width] = (source[:, :height, :width] - MEAN[:, None, None]) / STD[:, None, None]
    return images


def our_step(module: OPSNetModule, batch: Batch) -> dict[str, Tensor]:
    """One step under Lightning, in fp32 -> what it logged."""
    loader: Any = torch.utils.data.DataLoader([batch], batch_size=None)
    trainer = L.Trainer(
        accelerator="cpu", devices=1, max_steps=1, precision="32-true", gradient_clip_val=CLIPPING, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, loader)
    return {k.removeprefix("train/"): v for k, v in trainer.callback_metrics.items()}


def in_our_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The peer's weights or gradients under the names of ours, the text head's included."""
    heads = {"embed": "query_decoder.embed_head", "iou": "query_decoder.iou_head"}
    body = convert({k: v for k, v in tensors.items() if not k.startswith("class_predictor.")}).state
    for name, ours in heads.items():
        body |= {f"{ours}.{kind}": tensors[f"class_predictor.{name}.{kind}"] for kind in ("weight", "bias")}
    return {**body, "no_object_embed": tensors["class_predictor.no_object.weight"][0]}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_step_equals_the_peers(backbone: str, batch: Batch, monkeypatch) -> None:
    peer = small_peer(backbone, num_labels=len(NAMES), train_num_points=POINTS)
    module = build_ours(opsnet_of(peer))
    head = TextHead(module.model, module.train_bank())
    trained = {name: p for name, p in module.model.named_parameters() if p.requires_grad}
    before = {name: p.detach().clone() for name, p in trained.items()}
    points = StepPoints.draw(POINTS, StepSeeds.of(module.seed, 0, batch.image_ids), torch.device("cpu"))
    ours, theirs = our_step(module, batch), peer_step(peer, head, batch, points, monkeypatch)
    for kind, loss in ours.items():
        assert loss.item() == pytest.approx(theirs[KINDS.get(kind, kind)].item(), rel=1e-5), kind
    peers = {name: p for name, p in peer.named_parameters() if p.requires_grad}
    gradients = in_our_names({name: p.grad for name, p in peers.items() if p.grad is not None})
    weights = in_our_names({name: p.detach() for name, p in peers.items()})
    assert set(gradients) == set(trained)
    for name, parameter in trained.items():
        # Keys' biases move nothing: their gradient is rounding. All gradients together have the length 0.01.
        assert parameter.grad is not None
        difference = (parameter.grad - gradients[name]).norm()
        assert difference <= 1e-4 * gradients[name].norm() + 1e-8, f"gradient of {name}"
        # Closer than 1e-5: the decay of a bias of the backbone moves it by 5e-6.
        moved = (parameter.detach() - before[name]).norm()
        assert moved > 0, name
        difference = (parameter.detach() - weights[name]).norm()
        assert difference <= 2e-6 * weights[name].norm(), f"{name} moved by {moved:.1e}, off by {difference:.1e}"
