"""Text embeddings of prompts by CLIP's text encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def encode_text(clip: Any, tokens: Tensor) -> Tensor:
    """Token ids (P, L) -> embeddings (P, D), not normalised.

    Computed without the padding that all prompts share. In a causal encoder the tokens after a prompt's end (its
    largest id) do not affect its embedding, so open_clip's encoder runs on fewer positions: several times as fast for
    names, which are short. Directions equal those of :func:`encode_text_reference` up to rounding.
    """
    causal = getattr(clip, "attn_mask", None) is not None and getattr(clip, "text_pool_type", None) == "argmax"
    if not causal:  # other encoders, such as the miniature's, use every position
        return encode_text_reference(clip, tokens)
    length = int(tokens.argmax(-1).max()) + 1
    shorter = {
        "positional_embedding": clip.positional_embedding[:length],
        "attn_mask": clip.attn_mask[:length, :length],
    }
    output = torch.func.functional_call(clip, shorter, kwargs={"text": tokens[:, :length]})
    embeds: Tensor = output["text_features"] if isinstance(output, dict) else output[1]
    return embeds


def encode_text_reference(clip: Any, tokens: Tensor) -> Tensor:
    """The same by the encoder's own method, on all positions."""
    embeds: Tensor = clip.encode_text(tokens)
    return embeds
