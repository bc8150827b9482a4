"""Random networks and ground truth for scripts that measure size, time or memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, open_dict

from opsnet.structures import SegmentTargets
from opsnet.utils.configuration import config_dir

FULL_SIZE = ["model=mask2former", "clip=rn50", "losses=mask2former", "optim=mask2former", "clip.model.weights=random"]


def untrained_config(overrides: Sequence[str]) -> DictConfig:
    """conf/train.yaml with the full-size networks and ``overrides``, without loading any weights.

    An experiment among the overrides, or a group, replaces the default ones.
    """
    given = {override.partition("=")[0] for override in overrides}
    start = [o for o in FULL_SIZE if o.partition("=")[0] not in given and ("experiment" not in given or "." in o)]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = compose("train", overrides=[*start, *overrides])
    parts: list[Any] = [cfg.backbone, cfg.clip.model.architecture]
    for part in parts:
        if part.get("pretrained"):
            with open_dict(part):
                part.pretrained = None if part is cfg.clip.model.architecture else False
    return cfg


def random_targets(batch: int, segments: int, side: int, names: int, device: str = "cpu") -> SegmentTargets:
    """Blobs that partition each of ``batch`` images of ``side`` x ``side`` pixels; random labels below ``names``."""
    noise = F.interpolate(torch.randn(batch, segments, 5, 5), size=(side, side), mode="bilinear")
    masks = [F.one_hot(n.argmax(0), segments).permute(2, 0, 1).bool().to(device) for n in noise]
    return SegmentTargets(labels=[torch.randint(names, (segments,), device=device) for _ in range(batch)], masks=masks)
