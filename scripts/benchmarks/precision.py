"""The effect of bf16 on masks: masks of a checkpoint under autocast compared with fp32, on validation images.

By default the pixel decoder stays in fp32 under autocast, as in Mask2Former (``model.pixel_decoder.precision``); the
last row shows the effect of bf16 there too.

    python -m scripts.benchmarks.precision last.ckpt data=camvid --images 12
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from opsnet.checkpoint.loading import load_checkpoint
from opsnet.data.batching import collate
from opsnet.model import OPSNet
from opsnet.structures import Batch, Proposals, TextBank
from opsnet.utils.configuration import config_dir
from opsnet.utils.errors import exit_on_user_error

WAYS = {"fp32": None, "bf16, pixel decoder in fp32": "fp32", "bf16 throughout": "follow"}


@dataclass(frozen=True)
class Cost:
    """For one image: fraction of mask pixels that flip, mean IoU with the fp32 masks, seconds per forward pass."""

    flips: float
    iou: float
    seconds: float


def propose(model: OPSNet, batch: Batch, way: str | None) -> tuple[Proposals, float]:
    """Proposals of a batch in one of :data:`WAYS`, and the time in seconds."""
    model.pixel_decoder.precision = None if way == "follow" else "fp32"
    start = time.perf_counter()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16) if way else nullcontext():
        proposals, _ = model(batch.images, batch.valid_sizes)
    return proposals, time.perf_counter() - start


def compare(model: OPSNet, batch: Batch, train: TextBank) -> dict[str, Cost]:
    """The cost of each of :data:`WAYS` on one image, over the proposals not classified as no-object."""
    exact, _ = propose(model, batch, None)
    kept = model.training_logits(exact, train)[0].argmax(-1) < len(train.names)
    expected = exact.mask_logits[0][kept] >= 0
    costs = {}
    for name, way in WAYS.items():
        proposals, seconds = propose(model, batch, way)
        masks = proposals.mask_logits[0][kept] >= 0
        shared, either = ((masks & expected).flatten(1).sum(1), (masks | expected).flatten(1).sum(1))
        iou = float((shared / either.clamp(min=1)).mean())
        costs[name] = Cost(float((masks != expected).float().mean()), iou, seconds)
    return costs


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints one row per entry of :data:`WAYS`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("overrides", nargs="*", help="overrides of conf/evaluate.yaml, such as data=camvid")
    parser.add_argument("--images", type=int, default=12)
    given = parser.parse_intermixed_args(arguments)
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = compose("evaluate", [*given.overrides, f"checkpoint={given.checkpoint}", "output=."])
    with exit_on_user_error():
        trained = load_checkpoint(given.checkpoint, clip_weights=cfg.clip_weights, device="cpu")
        dataset: Any = instantiate(cfg.data.module.val)()
        train = trained.names.train_bank()
        step = max(1, len(dataset) // given.images)
        rows = [
            compare(
                trained.model, collate([dataset[i]], vocabulary=dataset.vocabulary.name, with_ground_truth=True), train
            )
            for i in range(0, len(dataset), step)
        ]
    for name in WAYS:
        costs = [row[name] for row in rows]
        flips, iou = (100 * sum(getattr(c, key) for c in costs) / len(costs) for key in ("flips", "iou"))
        seconds = sorted(c.seconds for c in costs)[len(costs) // 2]
        print(f"{name:28} {flips:7.3f} % of pixels flip  {iou:7.2f} % mean IoU  {seconds:6.2f} s per image")


if __name__ == "__main__":
    main()
