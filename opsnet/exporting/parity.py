"""Compares an exported file with the network, on synthetic images and vocabularies of several lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from opsnet.exporting.network import INPUTS, ExportError, ExportNetwork
from opsnet.inference.network_output import NetworkOutput
from opsnet.inference.segment import segment
from opsnet.miniature.drawing import DOMAINS, draw_scene
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.structures import SIZE_DIVISOR, Batch, PanopticMap, Proposals, TextBank

Outputs = tuple[Tensor, Tensor, Tensor, Tensor]
Runner = Callable[[Tensor, Tensor, TextBank], Outputs]
SIZES = ((96, 96), (70, 121), (64, 160), (200, 64), (190, 250))  # pixels (height, width) before padding
TIES = 1e-4  # share of a map's pixels that may differ: rounding decides between equal proposals


@dataclass
class Parity:
    """The largest differences found.

    Attributes:
        runs: number of comparisons: every image with every vocabulary.
        mask, mask_logit, score: largest difference of mask probabilities, mask logits and proposal scores.
        pixels: number of pixels with different segments in the two maps, out of ``of_pixels``.
        segments: total number of segments in the network's maps.
    """

    runs: int = 0
    mask: float = 0.0
    mask_logit: float = 0.0
    score: float = 0.0
    pixels: int = 0
    of_pixels: int = 0
    segments: int = 0


def drawn_batch(size: tuple[int, int], seed: int, padded: tuple[int | None, int | None] = (None, None)) -> Batch:
    """An image of ``size`` (height, width in pixels), tiled from scenes of the synthetic world.

    Args:
        size: size of the image.
        seed: seed of the scenes.
        padded: (height, width) of the batch; ``None`` pads to the next multiple of 32.
    """
    rng = np.random.default_rng(seed)
    height, width = (min(side, pad or side) for side, pad in zip(size, padded, strict=True))
    domains = list(DOMAINS.values())
    lines = []
    for _ in range(0, height, 96):
        scenes = [draw_scene(domains[rng.integers(len(domains))], rng)[0] for _ in range(0, width, 96)]
        lines.append(np.concatenate(scenes, axis=1))
    pixels = torch.from_numpy(np.concatenate(lines)[:height, :width] / 255).float().clamp(0, 1)
    whole = [pad or -(-side // SIZE_DIVISOR) * SIZE_DIVISOR for side, pad in zip((height, width), padded, strict=True)]
    images = torch.zeros(1, 3, *whole)
    images[0, :, :height, :width] = pixels.permute(2, 0, 1)
    return Batch(images=images, valid_sizes=[(height, width)], image_ids=[seed], vocabulary="drawn")


def compare(
    network: ExportNetwork, exported: Runner, batches: Sequence[Batch], targets: Sequence[TextBank], *,
    filtering: MaskFiltering, overlap: float,
) -> Iterator[Parity]:  # fmt: skip
    """Runs every image with every vocabulary through both; yields the differences so far after each.

    Raises:
        ExportError: the maps have different segments.
    """
    found = Parity()
    for batch in batches:
        size = torch.tensor(batch.valid_sizes)
        for target in targets:
            with torch.no_grad():
                ours = network.forward_bank(batch.images, size, target)
            theirs = exported(batch.images, size, target)
            a, b = (_map(outputs, batch, target, filtering, overlap) for outputs in (ours, theirs))
            _refuse_other_segments(a, b, batch, target)
            _add_numbers(found, ours, theirs, filtering)
            found.pixels += int((a.ids != b.ids).sum())
            found.of_pixels += a.ids.numel()
            found.segments += len(a.segments)
            found.runs += 1
            yield found


def check(parity: Parity, tolerance: float) -> None:
    """Checks the differences.

    Raises:
        ExportError: masks or scores differ by more than ``tolerance``, or maps by more than ties.
    """
    worst = max(parity.mask, parity.score)
    if not worst <= tolerance:  # nan differs too
        raise ExportError(
            f"the exported network differs from the original: masks by {parity.mask:.1e}, scores by {parity.score:.1e} "
            f"(tolerance {tolerance:g}); nothing was written. Give tolerance={worst * 2:.0e} if this is acceptable"
        )
    if parity.pixels > TIES * parity.of_pixels:
        raise ExportError(
            f"the exported network's maps differ in {parity.pixels} of {parity.of_pixels} pixels; nothing was written"
        )


def _map(outputs: Outputs, batch: Batch, target: TextBank, filtering: MaskFiltering, overlap: float) -> PanopticMap:
    masks, logits, no_object, iou = outputs
    output, named = NetworkOutput.of(Proposals(masks, torch.zeros(0), iou), batch), logits[..., : len(target.names)]
    return segment(output, named, no_object, target.is_thing.tolist(), filtering=filtering, overlap=overlap)[0]


def _refuse_other_segments(a: PanopticMap, b: PanopticMap, batch: Batch, target: TextBank) -> None:
    if [(s.id, s.label) for s in a.segments] != [(s.id, s.label) for s in b.segments]:
        raise ExportError(
            f"the exported network predicts different segments ({len(b.segments)} instead of {len(a.segments)}) for an "
            f"image of {batch.valid_sizes[0]} pixels with {len(target.names)} names; nothing was written"
        )


def _add_numbers(found: Parity, ours: Outputs, theirs: Outputs, filtering: MaskFiltering) -> None:
    found.mask_logit = max(found.mask_logit, _distance(ours[0], theirs[0]))
    found.mask = max(found.mask, _distance(ours[0].sigmoid(), theirs[0].sigmoid()))
    scores = [filtering(logits, no_object, iou)[0] for _, logits, no_object, iou in (ours, theirs)]
    found.score = max(found.score, _distance(*scores))


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def runner(path: Path) -> Runner:
    """A written file, loaded back: ONNX by onnxruntime on the CPU, ``.pt2`` by PyTorch."""
    if path.suffix == ".pt2":
        module = torch.export.load(path).module()

        def run_graph(images: Tensor, size: Tensor, target: TextBank) -> Outputs:
            with torch.no_grad():
                return module(images, size, target.embeds, target.concept_of_row())  # type: ignore[no-any-return]

        return run_graph
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run_session(images: Tensor, size: Tensor, target: TextBank) -> Outputs:
        values = (images.numpy(), size.numpy(), target.embeds.numpy(), target.concept_of_row().numpy())
        masks, logits, no_object, iou = session.run(None, dict(zip(INPUTS, values, strict=True)))
        return torch.from_numpy(masks), torch.from_numpy(logits), torch.from_numpy(no_object), torch.from_numpy(iou)

    return run_session
