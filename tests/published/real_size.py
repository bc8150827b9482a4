"""Loads a published file of real size in a process of its own, segments an image of 640 x 640, prints what it took.

Usage: python real_size.py FILE [CLIP_WEIGHTS]
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

import numpy as np

import opsnet
from opsnet.prediction.images import NetworkSize


def peak() -> float:
    """The most memory that this process has held, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(path: str, clip_weights: str | None = None) -> dict[str, Any]:
    """Peak memory in GiB, seconds, calls of the first layer of CLIP's trunk, and the size of the map."""
    start = time.monotonic()
    predictor = opsnet.load(path, device="cpu", clip_weights=clip_weights)
    found: dict[str, Any] = {"load_gib": peak(), "load_s": time.monotonic() - start}
    model, calls = predictor.trained.model, []
    visual = model.clip.image_encoder.visual
    first = visual.conv1 if hasattr(visual, "conv1") else visual.trunk.stem
    first.register_forward_hook(lambda *_: calls.append(1))
    predictor.size = NetworkSize(640, 640)
    pixels = np.random.default_rng(0).integers(0, 255, (640, 640, 3), dtype=np.uint8)
    start = time.monotonic()
    output = predictor.propose(pixels)
    found |= {"forward_s": time.monotonic() - start, "gib": peak(), "trunk_calls": len(calls)}
    (named,) = predictor.name(output, "cat, dog, grass")
    proposals = output.proposals
    return found | {
        "map": list(named.ids.shape), "masks": list(proposals.mask_logits.shape), "gib_named": peak(),
        "finite": bool(proposals.mask_logits.isfinite().all() and proposals.query_embeds.isfinite().all()),
        "weights": len(model.state_dict()), "recognizer": type(predictor.recognizer).__name__,
        "clip": predictor.trained.config["clip"]["model"]["architecture"]["model_name"],
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
