"""Benchmarks of single operations for ``python -m scripts.benchmarks.pairs``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.inference.network_output import NetworkOutput
from opsnet.inference.segment import segment
from opsnet.losses.matching import HungarianMatcher
from opsnet.losses.point_sampling import SharedPoints
from opsnet.ops.cosines import shortlisted_cosines
from opsnet.ops.deformable_sampling import deformable_sampling
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.structures import Batch, GroundTruth, PanopticMap, Proposals, Segment, TextBank
from opsnet.vocabulary import Vocabulary
from scripts.benchmarks.pair import Pair, relative_error
from scripts.benchmarks.untrained import random_targets

NAMES, QUERIES = 133, 100


def sampling() -> Pair:
    """The core of deformable attention in one layer of the pixel decoder at 640 x 640, forward."""
    value, shapes, locations, weights = _sampling_inputs(1, 640)
    peer = _peer_sampling()

    def run(way: Callable[..., Tensor]) -> Tensor:
        with torch.no_grad():
            return way(value, shapes, locations, weights)

    error = relative_error(run(deformable_sampling), run(peer))
    return Pair(lambda: run(deformable_sampling), lambda: run(peer), f"within {error:.1e} of the norm")


def sampling_backward() -> Pair:
    """The same with gradients, two images of 256 x 256."""
    inputs = _sampling_inputs(2, 256)
    peer = _peer_sampling()

    def run(way: Callable[..., Tensor]) -> list[Tensor]:
        value, locations, weights = (t.clone().requires_grad_() for t in (inputs[0], inputs[2], inputs[3]))
        way(value, inputs[1], locations, weights).square().sum().backward()
        return [t.grad for t in (value, locations, weights) if t.grad is not None]

    error = max(relative_error(a, b) for a, b in zip(run(deformable_sampling), run(peer), strict=True))
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


def matching() -> Pair:
    """Hungarian matching of ten layers, two images, 12,544 points.

    Both start from full masks, in the memory layout in which each side creates them (ours is channels last).
    """
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerHungarianMatcher

    torch.manual_seed(0)
    targets = random_targets(2, 12, 640, NAMES)
    layers = [(torch.randn(2, QUERIES, NAMES + 1), torch.randn(2, QUERIES, 160, 160)) for _ in range(10)]
    pixel_by_pixel = [m.contiguous(memory_format=torch.channels_last) for _, m in layers]
    matcher, truth = HungarianMatcher(), torch.cat(targets.masks).float()
    peer = Mask2FormerHungarianMatcher(cost_class=2.0, cost_mask=5.0, cost_dice=5.0, num_points=12_544)
    masks, labels = [m.float() for m in targets.masks], list(targets.labels)

    def read(points: SharedPoints) -> Iterator[Tensor]:
        found = None
        for m in pixel_by_pixel:
            found = points.read(m, out=found)
            yield found

    @torch.no_grad()
    def ours() -> list[Tensor]:
        points = SharedPoints(torch.rand(2, matcher.points, 2))
        return matcher.match_points([x for x, _ in layers], read(points), points, targets, truth)

    def theirs() -> list[Any]:
        return [peer(m, x, masks, labels) for x, m in layers]

    return Pair(ours, theirs, "tested equal for equal points")


def post_processing() -> Pair:
    """From proposals of one image, of which thirty are kept, to a map of 640 x 640; the peer is Mask2Former's order."""
    torch.manual_seed(0)
    centres, radius = torch.rand(QUERIES, 2) * 160, 4 + 20 * torch.rand(QUERIES)
    grid = torch.stack(torch.meshgrid(torch.arange(160.0), torch.arange(160.0), indexing="ij"), dim=-1)
    discs = (radius[:, None, None] - (grid - centres[:, None, None]).norm(dim=-1))[None]
    logits, no_object = torch.randn(1, QUERIES, NAMES) * 2, torch.full((1, QUERIES), 30.0)
    no_object[:, :30] = -30.0
    proposals = Proposals(discs, torch.zeros(1, QUERIES, 1), 0.5 + torch.rand(1, QUERIES) / 2)
    batch = Batch(torch.zeros(1, 3, 640, 640), [(640, 640)], [0], "custom")
    names = TextBank("custom", tuple(map(str, range(NAMES))), torch.arange(NAMES) < 80, torch.zeros(NAMES, 1))
    filtering, output = MaskFiltering(kind="cls_iou", threshold=0.05), NetworkOutput.of(proposals, batch)

    def ours() -> PanopticMap:
        return segment(output, logits, no_object, names.is_thing.tolist(), filtering=filtering, overlap=0.8)[0]

    def peer() -> tuple[Tensor, list[int]]:
        return _reference_order(proposals, *filtering(logits, no_object, proposals.iou)[:3], names.is_thing)

    found, (ids, labels) = ours(), peer()
    same = torch.equal(found.ids, ids) and [s.label for s in found.segments] == labels
    return Pair(ours, peer, f"{'identical' if same else 'DIFFERENT'} maps of {len(labels)} segments")


def _reference_order(
    proposals: Proposals, scores: Tensor, labels: Tensor, keep: Tensor, is_thing: Tensor
) -> tuple[Tensor, list[int]]:
    """Upsamples all masks first, then filters, then processes one segment after the other."""
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


def pq() -> Pair:
    """One map of 480 x 640 with twenty segments, against torchmetrics' PanopticQuality.

    The two metrics differ if there is crowd or void; here there is none.
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
    """Ids 1 to ``count``, (480, 640): each pixel has the id of the nearest of ``count`` random points."""
    y, x = torch.meshgrid(torch.arange(480.0), torch.arange(640.0), indexing="ij")
    centres = torch.rand(count, 2) * torch.tensor((480.0, 640.0))
    return ((y[..., None] - centres[:, 0]) ** 2 + (x[..., None] - centres[:, 1]) ** 2).argmin(-1) + 1


def many_names() -> Pair:
    """The shortlist against all cosines in fp32: 100 proposals, and random vectors for the names of ImageNet-21K."""
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
        ours, theirs, f"best five of {equal} of {QUERIES} equal; {rows} rows, {size:.0f} MiB plus half of that for bf16"
    )
