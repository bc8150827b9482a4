"""One training step of OPSNet+ at full size on random pictures: losses, gradients of every part, time and memory.

Usage: python scripts/plus_step.py backbone=r50 [--size 640] [--batch 1] [--json]

The step is the LightningModule's own, on as many pictures with segments as with labels, with the names of COCO and of
ImageNet. The networks are built at random, nothing is loaded. It fails where a loss or gradient is not finite, where a
part that is trained gets no gradient, or where CLIP gets one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from opsnet.errors import one_sentence_errors
from opsnet.structures import Batch, ImageLabels
from opsnet.train import build_module
from opsnet.vocabulary import Vocabulary

sys.path.insert(0, str(Path(__file__).parent))
from memory import Part, measured
from untrained import random_targets, untrained_config

SEGMENTS = 12


def step(overrides: Sequence[str], *, size: int, batch: int, device: str) -> tuple[list[Part], dict[str, float]]:
    """Time and memory of the step's two halves, and its losses and gradient norms by name.

    Args:
        overrides: of conf/train.yaml, on top of the full-size networks with CLIP RN50 and supervision=cls_masksum.
        size: pixels a side of the pictures.
        batch: pictures with segments, and as many with labels.
        device: "cpu" or "cuda".

    Raises:
        RuntimeError: a loss or gradient is not finite, or is where it should not be.
    """
    torch.manual_seed(0)
    names, labels = Vocabulary.load("coco"), Vocabulary.load("imagenet1k")
    cfg = untrained_config(["supervision=cls_masksum", *overrides])
    module = build_module(cfg, names, labels).train().to(device)
    # No proposal of an untrained network has an IoU above the threshold; the names would learn nothing.
    torch.nn.init.constant_(module.model.query_decoder.iou_head.bias, 2.0)
    figures: dict[str, float] = {}
    module.log_dict = lambda values, **_: figures.update({k: float(v) for k, v in values.items()})
    module.log = lambda name, value, **_: figures.update({name: float(value)})
    batches = _batches(len(names), len(labels), size, batch, device)
    for bank in (names, labels):  # once a training
        module.model.clip.text_encoder(bank)
    parts: list[Part] = []
    with measured("forward and losses", parts, device):
        loss = module.training_step(batches, 0)
    with measured("backward", parts, device):
        loss.backward()
    figures.update(_gradients(module.model))
    wrong = [name for name, value in figures.items() if not abs(value) < float("inf")]
    if wrong:
        raise RuntimeError(f"not finite: {', '.join(wrong)}")
    return parts, figures


def _batches(names: int, labels: int, size: int, batch: int, device: str) -> dict[str, Batch]:
    def pictures(vocabulary: str, targets: Any) -> Batch:
        images = torch.rand(batch, 3, size, size, device=device)
        return Batch(images, [(size, size)] * batch, list(range(batch)), vocabulary, targets)

    found = ImageLabels([torch.randint(labels, (3,), device=device) for _ in range(batch)])
    segments = random_targets(batch, SEGMENTS, size, names, device)
    return {"panoptic": pictures("coco", segments), "labels": pictures("imagenet1k", found)}


def _gradients(model: Any) -> dict[str, float]:
    """Norms of the gradients by part."""
    if any(p.grad is not None for p in model.clip.parameters()):
        raise RuntimeError("CLIP is frozen, but has gradients")
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    without = [name for name, p in trained.items() if p.grad is None or not p.grad.any()]
    if without:
        raise RuntimeError(f"no gradient in {', '.join(without)}")
    parts: dict[str, list[Tensor]] = {}
    for name, p in trained.items():
        path = name.split(".")
        part = ".".join(path[:2]) if path[0] == "query_decoder" else path[0]
        parts.setdefault(f"gradient/{part}", []).append(p.grad.norm())
    return {part: float(torch.stack(norms).norm()) for part, norms in parts.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints what the step gave."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of conf/train.yaml, e.g. backbone=r50")
    parser.add_argument("--size", type=int, default=640, help="pixels a side of the pictures")
    parser.add_argument("--batch", type=int, default=1, help="pictures of each kind")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--json", action="store_true", help="print json instead of a table")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    with one_sentence_errors():
        parts, figures = step(options.overrides, size=options.size, batch=options.batch, device=options.device)
    if options.json:
        print(json.dumps({"parts": [vars(p) for p in parts], "figures": figures}, indent=2))
        return
    title = f"{options.batch} + {options.batch} pictures of {options.size} x {options.size} on {options.device}"
    table = Table("", "", title=title, caption=f"all in all {time.monotonic() - start:.0f} s")
    for part in parts:
        table.add_row(part.name, f"{part.seconds:.1f} s, at most {part.peak:.2f} GiB")
    for name, value in figures.items():
        table.add_row(name, f"{value:.4g}")
    Console().print(table)


if __name__ == "__main__":
    main()
