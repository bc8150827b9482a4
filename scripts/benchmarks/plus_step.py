"""One training step of OPSNet+ at full size on random images: losses, gradients of every part, time and memory.

Usage: python -m scripts.benchmarks.plus_step backbone=r50 [--size 1024] [--label-size 640] [--batch 1]
       [--bf16] [--json]

The step is that of the LightningModule, with equally many images with segments and with labels and the names of COCO
and ImageNet. The networks have random weights, nothing is loaded. It fails if a loss or gradient is not finite, a
trained part gets no gradient, or CLIP gets one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from opsnet.structures import Batch, ImageLabels
from opsnet.training.run import build_module
from opsnet.utils.errors import exit_on_user_error
from opsnet.vocabulary import Vocabulary
from scripts.benchmarks.memory import Part, measured
from scripts.benchmarks.untrained import random_targets, untrained_config

SEGMENTS = 12


def step(
    overrides: Sequence[str], *, size: int, label_size: int, batch: int, device: str, bf16: bool = False
) -> tuple[list[Part], dict[str, float]]:
    """Time and memory of the parts of the step, and losses and gradient norms by name.

    Args:
        overrides: overrides of conf/train.yaml, for full-size networks with CLIP RN50 and image_labels=cls_masksum.
        size, label_size: side length in pixels of images with segments and of images with labels.
        batch: number of images with segments, and of images with labels.
        device: "cpu" or "cuda".
        bf16: run forward passes and losses under autocast, as with trainer=default.

    Raises:
        RuntimeError: a loss or gradient is not finite, or a gradient is missing or unexpected.
    """
    torch.manual_seed(0)
    names, labels = Vocabulary.load("coco"), Vocabulary.load("imagenet1k")
    cfg = untrained_config(["image_labels=cls_masksum", *overrides])
    module = build_module(cfg, names, labels).train().to(device)
    _as_if_trained(module.model)
    figures: dict[str, float] = {}
    module.log_dict = lambda values, **_: figures.update({k: float(v.detach()) for k, v in values.items()})
    module.log = lambda name, value, **_: figures.update({name: float(value.detach())})
    batches = _batches(len(names), len(labels), (size, label_size), batch, device)
    optimizer = module.build_optimizer(module.model)
    for bank in (names, labels):  # once per training
        module.model.clip.text_encoder(bank)
    parts: list[Part] = []
    total = torch.zeros((), device=device)
    for kind, images in batches.items():
        with measured(f"{kind}: forward and losses", parts, device), torch.autocast(device, enabled=bf16):
            total = total + module.training_step({kind: images}, 0)
    figures["train/loss"] = float(total.detach())
    with measured("backward", parts, device):
        total.backward()
    figures.update(_gradients(module.model))
    with measured("optimiser", parts, device):
        optimizer.step()
    wrong = [name for name, value in figures.items() if not abs(value) < float("inf")]
    if wrong:
        raise RuntimeError(f"not finite: {', '.join(wrong)}")
    return parts, figures


@torch.no_grad()
def _as_if_trained(model: Any) -> None:
    """Replaces all-zero weights (such as the last norm of a residual block), which block gradients.

    Also makes proposals valid: an untrained network predicts no IoU above the threshold, so labels give no gradient.
    """
    for name, weight in model.state_dict().items():
        if name.endswith("weight") and not weight.any():
            weight.normal_(0, 0.02)
    model.query_decoder.iou_head.bias.fill_(2.0)


def _batches(names: int, labels: int, sizes: tuple[int, int], batch: int, device: str) -> dict[str, Batch]:
    def images_of(vocabulary: str, size: int, targets: Any) -> Batch:
        images = torch.rand(batch, 3, size, size, device=device)
        return Batch(images, [(size, size)] * batch, list(range(batch)), vocabulary, targets)

    found = ImageLabels([torch.randint(labels, (3,), device=device) for _ in range(batch)])
    segments = random_targets(batch, SEGMENTS, sizes[0], names, device)
    return {"panoptic": images_of("coco", sizes[0], segments), "labels": images_of("imagenet1k", sizes[1], found)}


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
    """Prints the results of the step."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="override of conf/train.yaml, e.g. backbone=r50"
    )
    parser.add_argument("--size", type=int, default=1024, help="side length of images with segments")
    parser.add_argument("--label-size", type=int, default=640, help="side length of images with labels")
    parser.add_argument("--bf16", action="store_true", help="use autocast, as with trainer=default")
    parser.add_argument("--batch", type=int, default=1, help="number of images of each kind")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--json", action="store_true", help="print json instead of a table")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    with exit_on_user_error():
        parts, figures = step(
            options.overrides, size=options.size, label_size=options.label_size, batch=options.batch,
            device=options.device, bf16=options.bf16,
        )  # fmt: skip
    if options.json:
        print(json.dumps({"parts": [vars(p) for p in parts], "figures": figures}, indent=2))
        return
    title = f"{options.batch} x {options.size}² + {options.batch} x {options.label_size}² pixels on {options.device}"
    table = Table("", "", title=title, caption=f"total {time.monotonic() - start:.0f} s")
    for part in parts:
        table.add_row(part.name, f"{part.seconds:.1f} s, at most {part.peak:.2f} GiB")
    for name, value in figures.items():
        table.add_row(name, f"{value:.4g}")
    Console().print(table)


if __name__ == "__main__":
    main()
