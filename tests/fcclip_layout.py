"""Overrides that make a configured FC-CLIP small."""

from __future__ import annotations

import json
from pathlib import Path

from published_files import CONVNEXT

CLIP_CONFIG = {"model_cfg": CONVNEXT}
SMALL_FCCLIP = (  # of experiment=finetune
    "+model.pixel_decoder.dim=64",
    "+model.pixel_decoder.mask_dim=64",
    "+model.pixel_decoder.layers=1",
    "+model.pixel_decoder.hidden=64",
    "model.query_decoder.mask_dim=64",
    "+model.query_decoder.dim=64",
    "+model.query_decoder.layers=2",
    "+model.query_decoder.hidden=64",
    "model.query_decoder.queries=8",
)


def small_clip(weights: str | Path) -> list[str]:
    """Overrides that replace CLIP by the small one; ``weights`` is a file, or "random"."""
    config = json.dumps(CLIP_CONFIG["model_cfg"]).replace('""', "''").replace('"', "").replace(" ", "")
    return [
        "clip.model.architecture._target_=opsnet.clip.loading.custom_clip",
        f"+clip.model.architecture.config={config}",
        "~clip.model.architecture.model_name",
        "~clip.model.architecture.pretrained",
        f"clip.model.weights={weights}",
    ]
