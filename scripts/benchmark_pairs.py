"""The work that scripts/benchmark.py times, each by this project and by a peer that can be installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.losses.criterion import LayerPredictions, PanopticCriterion
from opsnet.losses.point_sampling import SharedPoints
from opsnet.model import assemble
from opsnet.ops.deformable_sampling import deformable_sampling
from opsnet.ops.shortlist import shortlisted_cosines
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.recognition.recognizer import cosine_logits
from opsnet.segmenter.pixel_decoder import PixelFeatures
from opsnet.segmenter.published.layouts import CLASS_HEAD, convert
from opsnet.structures import Batch, GroundTruth, PanopticMap, Proposals, Segment, TextBank
from opsnet.training.optim import adamw
from opsnet.vocabulary import Vocabulary

sys.path.insert(0, str(Path(__file__).parent))
from benchmark_data import data
from check_parity import Segmenter
from pairs import Pair
from untrained import random_targets

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
    """R50, one picture of 640 x 640, fp32 on both sides."""
    ours, peer = _both()
    picture = torch.randn(1, 3, 640, 640)
    fast = picture.contiguous(memory_format=torch.channels_last)
    error = (_masks(ours, fast) - _peer_masks(peer, picture)).abs().max()
    return Pair(lambda: _masks(ours, fast), lambda: _peer_masks(peer, picture), f"masks within {float(error):.1e}")


def forward_bf16() -> Pair:
    """The same, ours in bf16 autocast and the peer in fp32."""
    ours, peer = _both()
    picture = torch.randn(1, 3, 640, 640)
    fast = picture.contiguous(memory_format=torch.channels_last)

    def half() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return _masks(ours, fast)

    same = ((half() >= 0) == (_peer_masks(peer, picture) >= 0)).float().mean()
    return Pair(half, lambda: _peer_masks(peer, picture), f"{float(same):.2%} of the mask signs equal")


@torch.no_grad()
def _masks(ours: Segmenter, picture: Tensor) -> Tensor:
    return ours(picture)[1][-1]


@torch.no_grad()
def _peer_masks(peer: Any, picture: Tensor) -> Tensor:
    masks: Tensor = peer(picture).masks_queries_logits
    return masks


def sampling() -> Pair:
    """The core of deformable attention in one layer of the pixel decoder at 640 x 640, forward."""
    value, shapes, locations, weights = _sampling_inputs(1, 640)
    peer = _peer_sampling()

    def run(way: Callable[..., Tensor]) -> Tensor:
        with torch.no_grad():
            return way(value, shapes, locations, weights)

    error = _relative(run(deformable_sampling), run(peer))
    return Pair(lambda: run(deformable_sampling), lambda: run(peer), f"within {error:.1e} of the norm")


def sampling_backward() -> Pair:
    """The same with its gradients, two pictures of 256 x 256."""
    inputs = _sampling_inputs(2, 256)
    peer = _peer_sampling()

    def run(way: Callable[..., Tensor]) -> list[Tensor]:
        value, locations, weights = (t.clone().requires_grad_() for t in (inputs[0], inputs[2], inputs[3]))
        way(value, inputs[1], locations, weights).square().sum().backward()
        return [t.grad for t in (value, locations, weights) if t.grad is not None]

    error = max(_relative(a, b) for a, b in zip(run(deformable_sampling), run(peer), strict=True))
    return Pair(lambda: run(deformable_sampling), lambda: run(peer), f"gradients within {error:.1e} of the norm")


def _sampling_inputs(batch: int, side: int) -> tuple[Tensor, list[tuple[int, int]], Tensor, Tensor]:
    torch.manual_seed(0)
    shapes = [(side // stride, side // stride) for stride in (32, 16, 8)]
    length = sum(h * w for h, w in shapes)
    near = torch.randn(batch, length, 8, 3, 4, 2) * 4 / torch.tensor(shapes)[:, None]  # a few cells around each pixel
    locations = torch.rand(1, length, 1, 1, 1, 2) + near
    return torch.randn(batch, length, 8, 32), shapes, locations, torch.rand(batch, length, 8, 3, 4)


def _peer_sampling() -> Callable[..., Tensor]:
    from transformers.models.mask2former import modeling_mask2former

    way: Callable[..., Tensor] = modeling_mask2former.multi_scale_deformable_attention
    return way


def _relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def training_step() -> Pair:
    """Forward, losses, backward and AdamW, R50, two pictures of 256 x 256 with eight segments each."""
    ours, peer = _both()
    ours.query_decoder.embed_head = torch.nn.Linear(256, 1024)
    torch.manual_seed(0)
    pictures, targets = torch.randn(2, 3, 256, 256), random_targets(2, 8, 256, NAMES)
    bank, criterion = F.normalize(torch.randn(NAMES + 1, 1024), dim=-1), PanopticCriterion()
    optimizers = [adamw(ours, lr=1e-6), torch.optim.AdamW(peer.parameters(), lr=1e-6)]
    ours.train(), peer.train()

    def step_ours() -> float:
        features = ours.pixel_decoder(ours.backbone(pictures.contiguous(memory_format=torch.channels_last)))
        proposals = ours.query_decoder(features, pictures.new_zeros(2, 1, 1, 1))
        layers = [
            LayerPredictions(cosine_logits(q.query_embeds, bank), q.mask_embeds, q.iou)
            for q in proposals.supervision.layers
        ]
        return _descend(criterion(layers, features.pixels, targets)["loss"], optimizers[0])

    def step_peer() -> float:
        masks = [m.float() for m in targets.masks]
        loss = peer(pictures, mask_labels=masks, class_labels=list(targets.labels)).loss
        return _descend(loss.sum(), optimizers[1])

    return Pair(step_ours, step_peer, "the same work; ours also embeds and predicts IoU")


def _descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.detach())


def matching() -> Pair:
    """Hungarian matching of ten layers, two pictures, 12,544 points.

    Both begin with all masks in full, in the order in which each side makes them: ours pixel by pixel.
    """
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerHungarianMatcher

    torch.manual_seed(0)
    targets = random_targets(2, 12, 640, NAMES)
    layers = [(torch.randn(2, QUERIES, NAMES + 1), torch.randn(2, QUERIES, 160, 160)) for _ in range(10)]
    pixel_by_pixel = [m.contiguous(memory_format=torch.channels_last) for _, m in layers]
    criterion, truth = PanopticCriterion(), torch.cat(targets.masks).float()
    peer = Mask2FormerHungarianMatcher(cost_class=2.0, cost_mask=5.0, cost_dice=5.0, num_points=12_544)
    masks, labels = [m.float() for m in targets.masks], list(targets.labels)

    def read(points: SharedPoints) -> Iterator[Tensor]:
        found = None
        for m in pixel_by_pixel:
            found = points.read(m, out=found)
            yield found

    @torch.no_grad()
    def ours() -> list[Tensor]:
        points = SharedPoints(torch.rand(2, criterion.points, 2))
        return criterion._match_points([x for x, _ in layers], read(points), points, targets, truth)

    def theirs() -> list[Any]:
        return [peer(m, x, masks, labels) for x, m in layers]

    return Pair(ours, theirs, "tested equal for equal points")


def post_processing() -> Pair:
    """Proposals of one picture, thirty pass the filter, to a map of 640 x 640; the peer is Mask2Former's order."""
    torch.manual_seed(0)
    centres, radius = torch.rand(QUERIES, 2) * 160, 4 + 20 * torch.rand(QUERIES)
    grid = torch.stack(torch.meshgrid(torch.arange(160.0), torch.arange(160.0), indexing="ij"), dim=-1)
    discs = (radius[:, None, None] - (grid - centres[:, None, None]).norm(dim=-1))[None]
    logits, no_object = torch.randn(1, QUERIES, NAMES) * 2, torch.full((1, QUERIES), 30.0)
    no_object[:, :30] = -30.0
    proposals = Proposals(discs, torch.zeros(1, QUERIES, 1), 0.5 + torch.rand(1, QUERIES) / 2)
    batch = Batch(torch.zeros(1, 3, 640, 640), [(640, 640)], [0], "custom")
    names = TextBank("custom", tuple(map(str, range(NAMES))), torch.arange(NAMES) < 80, torch.zeros(NAMES, 1))
    filtering = MaskFiltering(kind="cls_iou", threshold=0.05)

    def ours() -> PanopticMap:
        return assemble(proposals, logits, no_object, batch, names, filtering=filtering, overlap=0.8)[0]

    def peer() -> tuple[Tensor, list[int]]:
        return _reference_order(proposals, *filtering(logits, no_object, proposals.iou)[:3], names.is_thing)

    found, (ids, labels) = ours(), peer()
    same = torch.equal(found.ids, ids) and [s.label for s in found.segments] == labels
    return Pair(ours, peer, f"{'identical' if same else 'DIFFERENT'} maps of {len(labels)} segments")


def _reference_order(
    proposals: Proposals, scores: Tensor, labels: Tensor, keep: Tensor, is_thing: Tensor
) -> tuple[Tensor, list[int]]:
    """All masks to full size first, then the filter, then one segment after the other."""
    full = F.interpolate(proposals.mask_logits, size=(640, 640), mode="bilinear", align_corners=False)[0].sigmoid()
    masks, kept_scores, kept_labels = full[keep[0]], scores[0][keep[0]], labels[0][keep[0]]
    ids = torch.zeros(640, 640, dtype=torch.int64)
    winner = (kept_scores[:, None, None] * masks).argmax(0)
    found: list[int] = []
    stuff: dict[int, int] = {}
    for k, label in enumerate(kept_labels.tolist()):
        mine, original = winner == k, masks[k] >= 0.5
        area, visible = original.sum().item(), (mine & original).sum().item()
        if mine.sum().item() == 0 or area == 0 or visible == 0 or mine.sum().item() / area < 0.8:
            continue
        if not is_thing[label] and label in stuff:
            ids[mine & original] = stuff[label]
            continue
        found.append(label)
        stuff[label] = len(found)
        ids[mine & original] = len(found)
    return ids, found


def decoder() -> Pair:
    """The query decoder alone: nine layers on the memory of a picture of 640 x 640, as at inference."""
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

    error = _relative(run_ours(), run_peer())
    return Pair(run_ours, run_peer, f"masks within {error:.1e} of the norm")


def pq() -> Pair:
    """One map of 480 x 640 with twenty segments, against torchmetrics' PanopticQuality.

    That is another metric where there are crowds or void; here there are none.
    """
    from torchmetrics.functional.detection import panoptic_quality

    from opsnet.metrics.panoptic_averages import summarise
    from opsnet.metrics.panoptic_quality import count_image

    torch.manual_seed(0)
    truth = _voronoi(20)
    found = torch.where(torch.rand(480, 640) < 0.05, truth.roll(40, dims=1), truth)
    segments = tuple(Segment(k, k % 10, True) for k in range(1, 21))
    prediction, target = PanopticMap(found, segments), GroundTruth(truth, segments)

    def ours() -> float:
        return summarise(count_image(prediction, target, 10), [True] * 10).as_dict()["PQ"]

    def theirs() -> float:
        maps = (torch.stack((ids % 10, ids), dim=-1)[None] for ids in (found, truth))
        return 100 * float(panoptic_quality(*maps, things=set(range(10)), stuffs={10}))

    return Pair(ours, theirs, f"PQ {ours():.4f} and {theirs():.4f}")


def _voronoi(count: int) -> Tensor:
    """Ids 1 to ``count``, (480, 640): each pixel has that of the nearest of as many random points."""
    y, x = torch.meshgrid(torch.arange(480.0), torch.arange(640.0), indexing="ij")
    centres = torch.rand(count, 2) * torch.tensor((480.0, 640.0))
    return ((y[..., None] - centres[:, 0]) ** 2 + (x[..., None] - centres[:, 1]) ** 2).argmin(-1) + 1


def text() -> Pair:
    """Sixteen names by RN50's text tower, against open_clip on prompts padded to 77 tokens."""
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


def many_names() -> Pair:
    """The shortlist against all in fp32: 100 proposals, as many random vectors in a cone as ImageNet-21K has names."""
    names = Vocabulary.load("imagenet21k")
    rows = sum(1 + len(concept.synonyms) for concept in names.concepts)
    generator = torch.Generator().manual_seed(0)
    bank = F.normalize(torch.randn(rows, 1024, generator=generator) + 2, dim=-1)
    near = bank[torch.randint(rows, (QUERIES,), generator=generator)]
    embeds = (near + 0.01 * torch.randn(QUERIES, 1024, generator=generator))[None]

    def ours() -> Tensor:
        return shortlisted_cosines(embeds, bank)

    def theirs() -> Tensor:
        return F.normalize(embeds, dim=-1) @ bank.T

    best, peers_best = ours().topk(5).indices, theirs().topk(5).indices
    equal = int((best == peers_best).all(-1).sum())
    size = bank.nbytes / 2**20
    return Pair(
        ours, theirs, f"best five of {equal} of {QUERIES} equal; {rows} rows, {size:.0f} MiB and half of it for bf16"
    )


BENCHMARKS: dict[str, Callable[[], Pair]] = {
    "forward": forward,
    "forward_bf16": forward_bf16,
    "training_step": training_step,
    "decoder": decoder,
    "sampling": sampling,
    "sampling_backward": sampling_backward,
    "post_processing": post_processing,
    "matching": matching,
    "pq": pq,
    "text": text,
    "many_names": many_names,
    "data": data,
}
