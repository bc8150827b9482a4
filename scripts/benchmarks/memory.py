"""One optimizer step of a configured OPSNet on random images: time and peak memory of each part.

Usage: python -m scripts.benchmarks.memory backbone=swin_l [--size 640] [--batch 1] [--json]

The networks have random weights, nothing is loaded. On a GPU, memory is what PyTorch has allocated there; on a CPU it
is the resident memory of the process (Linux), including Python and its libraries.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from opsnet.losses.building import build_losses
from opsnet.losses.layer_predictions import LayerPredictions
from opsnet.losses.predictions import MatchedPredictions
from opsnet.recognition.recognizer import cosine_logits
from opsnet.utils.errors import exit_on_user_error
from scripts.benchmarks.untrained import random_targets, untrained_config

NAMES, SEGMENTS = 133, 12


@dataclass(frozen=True)
class Part:
    """One part of a step: peak memory and memory at its end in GiB, and seconds."""

    name: str
    peak: float
    after: float
    seconds: float


def measure(overrides: Sequence[str], *, size: int, batch: int, device: str) -> list[Part]:
    """The parts of one step, in order.

    Args:
        overrides: overrides of conf/train.yaml, applied to the full-size networks with CLIP RN50.
        size: side length of the images in pixels.
        batch: number of images.
        device: "cpu" or "cuda".
    """
    from hydra.utils import instantiate

    parts: list[Part] = []
    cfg = untrained_config(overrides)
    torch.manual_seed(0)
    with measured("networks", parts, device):
        model = instantiate(cfg.model, backbone=cfg.backbone, clip=cfg.clip).train().to(device)
        losses, matcher = build_losses(cfg.losses, model).to(device), instantiate(cfg.matching)
        optimizer = instantiate(cfg.optim.optimizer)(model)
    images, targets = (
        torch.rand(batch, 3, size, size, device=device),
        random_targets(batch, SEGMENTS, size, NAMES, device),
    )
    bank = F.normalize(torch.randn(NAMES + 1, model.clip.embed_dim, device=device), dim=-1)
    with measured("CLIP, frozen", parts, device):
        clip_map = model.clip.image_encoder(images)
    with measured("backbone", parts, device):
        maps = model.backbone(images.contiguous(memory_format=torch.channels_last))
    with measured("pixel decoder", parts, device):
        features = model.pixel_decoder(maps)
    with measured("query decoder", parts, device):
        proposals = model.query_decoder(features, clip_map)
    with measured("losses", parts, device):
        layers = [
            LayerPredictions(cosine_logits(q.query_embeds, bank), q.mask_embeds, q.iou)
            for q in proposals.supervision.layers
        ]
        loss = losses(MatchedPredictions.match(layers, features.pixels, targets, matcher))["loss"]
    with measured("backward", parts, device):
        loss.backward()
    with measured("optimiser", parts, device):
        optimizer.step()
    whole = Part("whole step", max(p.peak for p in parts), parts[-1].after, sum(p.seconds for p in parts[1:]))
    return [*parts, whole]


@contextmanager
def measured(name: str, parts: list[Part], device: str) -> Iterator[None]:
    """Appends time and memory of the enclosed statements to ``parts``."""
    _reset_peak(device)
    start = time.monotonic()
    yield
    peak, now = _memory(device)
    parts.append(Part(name, peak, now, time.monotonic() - start))


def _reset_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak


def _memory(device: str) -> tuple[float, float]:
    """Peak memory since the last reset, and current memory, in GiB."""
    if device == "cuda":
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() / 2**30, torch.cuda.memory_allocated() / 2**30
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) / 2**20, int(lines["VmRSS"].split()[0]) / 2**20


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the parts as a table, or as json with ``--json``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="override of conf/train.yaml, e.g. backbone=swin_l"
    )
    parser.add_argument("--size", type=int, default=640, help="side length of the images in pixels")
    parser.add_argument("--batch", type=int, default=1, help="number of images")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--json", action="store_true", help="print json instead of a table")
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        parts = measure(options.overrides, size=options.size, batch=options.batch, device=options.device)
    if options.json:
        print(json.dumps([asdict(part) for part in parts], indent=2))
        return
    title = f"{options.batch} x {options.size} x {options.size} on {options.device}"
    table = Table("part", "peak (GiB)", "after (GiB)", "seconds", title=title)
    for part in parts:
        table.add_row(part.name, f"{part.peak:.2f}", f"{part.after:.2f}", f"{part.seconds:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
