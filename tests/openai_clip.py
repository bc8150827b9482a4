"""A small open_clip model with OpenAI's architecture, for tests."""

from __future__ import annotations

import torch
from torch import nn

CONTEXT = 16  # tokens


def small_clip(*, quick_gelu: bool = True, heads: int = 2) -> nn.Module:
    """A ResNet CLIP for images of 64 pixels, D = 24; always with the same weights."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    torch.manual_seed(0)
    vision = CLIPVisionCfg(layers=(1, 1, 1, 1), width=8, image_size=64)  # type: ignore[arg-type]
    text = CLIPTextCfg(context_length=CONTEXT, width=16, heads=heads, layers=2)
    return CLIP(24, vision, text, quick_gelu=quick_gelu).eval()
