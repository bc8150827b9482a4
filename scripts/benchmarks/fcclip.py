"""FC-CLIP here against a plain implementation of the same arithmetic, by parts, on this machine's CPU and one thread.

Usage: python -m scripts.benchmarks.fcclip [--clip rn50] [--size 640] [--rounds 5] [--bf16] [--json]

The plain side (scripts/benchmarks/fcclip_peer.py) has the same random weights. Both alternate in one process, and
their results are compared. Prints the least seconds of each part over the rounds, for one image, and how many times as
fast as the plain side in fp32 that is. They are seconds of CPU time, because other programs on the machine change them
less than wall-clock time. With ``--bf16`` both also run under autocast in bf16, the trainer's precision, and ours once
more with the pixel decoder in bf16 too, as the plain side (``model.pixel_decoder.precision=null``; fp32 by default).
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from opsnet.model import OPSNet
from opsnet.recognition.geometric_ensemble import GeometricEnsemble
from opsnet.recognition.recognizer import PreparedNames, prepare
from opsnet.structures import TextBank
from opsnet.utils.errors import exit_on_user_error
from scripts.benchmarks.fcclip_peer import PlainFcClip
from scripts.benchmarks.untrained import untrained_config

CLIPS = {"convnext_large_d_320": "project_after", "rn50": "attention"}  # with FC-CLIP's pooling
PARTS = ("trunk", "pixel decoder", "query decoder", "recognition")
NAMES, SEEN = 150, 64  # ADE20K's, of which the training names are a part
Step = tuple[str, Callable[[], None]]


@dataclass
class Result:
    """Masks (B, K, h, w), log-probabilities (B, K, M + 1), and the seconds of each of :data:`PARTS`."""

    masks: Tensor
    scores: Tensor
    seconds: dict[str, float]


@dataclass(frozen=True)
class Sides:
    """Both implementations, each from images (B, 3, H, W) to its :class:`Result`.

    Attributes:
        ours, plain: as configured by default.
        throughout: ours with a pixel decoder that follows autocast.
    """

    ours: Callable[[Tensor], Result]
    plain: Callable[[Tensor], Result]
    throughout: Callable[[Tensor], Result]


def build(clip: str, overrides: Sequence[str] = (), device: str = "cpu") -> Sides:
    """Both sides with random weights; ``clip`` is a key of :data:`CLIPS`."""
    from hydra.utils import instantiate

    cfg = untrained_config(
        [f"clip={clip}", f"+clip.pooling={CLIPS[clip]}", "model=fcclip", "backbone=clip", *overrides]
    )
    torch.manual_seed(0)
    model = instantiate(cfg.model, backbone=cfg.backbone, clip=cfg.clip).eval()
    del model.clip.text_encoder.clip.transformer  # names are random vectors
    _randomize(model.clip.image_encoder.visual)
    rows = F.normalize(torch.randn(NAMES + 1, model.clip.embed_dim), dim=-1)
    names = prepare(_bank(rows[:-1]), _bank(rows[:SEEN]))
    model.no_object_embed.data = rows[-1]
    model, names, rows = model.to(device), names.to(device), rows.to(device)
    own = model.clip.image_encoder.visual
    shared = {id(p): p for p in own.parameters() if p.ndim < 4}  # without a memory format, so the same for both
    visual = copy.deepcopy(own, shared).to(memory_format=torch.contiguous_format)
    peer = PlainFcClip(model, visual, rows, names.seen).eval().requires_grad_(False).to(device)

    def ours(images: Tensor, precision: str | None = "fp32") -> Result:
        model.pixel_decoder.precision = precision
        return run_ours(model, names, images)

    return Sides(ours, lambda images: run_plain(peer, images), lambda images: ours(images, None))


@torch.no_grad()
def _randomize(visual: torch.nn.Module) -> None:
    """Makes every branch count: initially ConvNeXt scales its by 1e-6 and CLIP's ResNet by 0."""
    for parameter in visual.parameters():
        if parameter.ndim == 1:
            parameter.add_(0.1 * torch.randn_like(parameter))


def _bank(rows: Tensor) -> TextBank:
    return TextBank("random", tuple(map(str, range(len(rows)))), torch.ones(len(rows), dtype=torch.bool), rows)


class _Clock:
    """Seconds of CPU time between calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.process_time()

    def lap(self, part: str) -> None:
        now = time.process_time()
        self.seconds[part], self._last = now - self._last, now


@torch.no_grad()
def run_ours(model: OPSNet, names: PreparedNames, images: Tensor) -> Result:
    """The steps of :meth:`OPSNet.forward` and of the recognizer."""
    clock, backbone = _Clock(), model.backbone
    maps, clip_map = backbone.with_clip_map(images.contiguous(memory_format=torch.channels_last))  # type: ignore[operator]
    clock.lap(PARTS[0])
    features = model.pixel_decoder(maps)
    clock.lap(PARTS[1])
    proposals = model.query_decoder(features, clip_map)
    clock.lap(PARTS[2])
    embeddings = model.embed(proposals, clip_map, (images.shape[-2], images.shape[-1]))
    logits, no_object = GeometricEnsemble()(embeddings, names, model.no_object_embed)
    clock.lap(PARTS[3])
    return Result(proposals.mask_logits, torch.cat((logits, no_object[..., None]), dim=-1), clock.seconds)


@torch.no_grad()
def run_plain(peer: PlainFcClip, images: Tensor) -> Result:
    """The same by the plain implementation."""
    clock = _Clock()
    maps = peer.trunk(images)
    clock.lap(PARTS[0])
    features = peer.pixel_decoder(maps)
    clock.lap(PARTS[1])
    masks, logits = peer.queries(features)
    clock.lap(PARTS[2])
    scores = peer.recognize(maps[-1], masks, logits)
    clock.lap(PARTS[3])
    return Result(masks, scores, clock.seconds)


def agreement(ours: Result, plain: Result) -> dict[str, float]:
    """Largest difference of the masks over the range of the plain ones, the part of equal signs, and of best names."""
    span = float(plain.masks.max() - plain.masks.min())
    return {
        "masks": float((ours.masks - plain.masks).abs().max()) / span,
        "signs": float(((ours.masks > 0) == (plain.masks > 0)).float().mean()),
        "names": float((ours.scores.argmax(-1) == plain.scores.argmax(-1)).float().mean()),
    }


def measure(clip: str, *, size: int, rounds: int, bf16: bool, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Least seconds by side and part, those of the plain side in fp32 over ours, and how far ours agrees with it.

    The first round is not timed.
    """
    sides, images = build(clip, overrides), torch.rand(1, 3, size, size)
    runs = {"ours": (sides.ours, False), "plain": (sides.plain, False)}
    if bf16:
        runs |= {"ours, bf16": (sides.ours, True), "ours, bf16 throughout": (sides.throughout, True)}
        runs |= {"plain, bf16": (sides.plain, True)}
    seconds: dict[str, list[dict[str, float]]] = {side: [] for side in runs}
    found: dict[str, Result] = {}
    for turn in range(rounds + 1):
        for side, (run, half) in runs.items():
            with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
                found[side] = run(images)
            if turn:
                timed = found[side].seconds
                seconds[side].append({**timed, "total": sum(timed.values())})
    least = {side: {p: min(r[p] for r in rows) for p in rows[0]} for side, rows in seconds.items()}
    ratios = {side: {p: least["plain"][p] / value for p, value in parts.items()} for side, parts in least.items()}
    same = {side: agreement(result, found["plain"]) for side, result in found.items()}
    return {"clip": clip, "seconds": least, "ratio": ratios, "agreement": same}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table per CLIP, or json with ``--json``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--clip", nargs="+", default=[*CLIPS], choices=[*CLIPS], dest="clips")
    parser.add_argument("--size", type=int, default=640, help="side length of the image in pixels")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds")
    parser.add_argument("--bf16", action="store_true", help="also under autocast in bf16")
    parser.add_argument("--json", action="store_true", help="print json instead of tables")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with exit_on_user_error():
        rows = [measure(c, size=options.size, rounds=options.rounds, bf16=options.bf16) for c in options.clips]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        _print(row)


def _print(row: dict[str, Any]) -> None:
    table = Table("side", *(f"{part} (s)" for part in (*PARTS, "total")), title=row["clip"])
    for side, parts in row["seconds"].items():
        table.add_row(side, *(f"{parts[p]:.2f} ({row['ratio'][side][p]:.2f}x)" for p in (*PARTS, "total")))
    Console(width=120).print(table)
    for side, same in row["agreement"].items():
        print(
            f"{side}: masks within {same['masks']:.1e} of their range, {same['signs']:.3%} of mask signs and "
            f"{same['names']:.1%} of best names equal those of plain"
        )
    print(f"torch {torch.__version__}")


if __name__ == "__main__":
    main()
