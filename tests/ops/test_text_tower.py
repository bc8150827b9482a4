"""Prompts without their common padding have the same embeddings as with it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from open_clip.tokenizer import SimpleTokenizer
from openai_clip import CONTEXT, small_clip
from torch import Tensor, nn

from opsnet.ops.text_tower import encode_text, encode_text_reference


def test_open_clips_encoder_uses_fewer_positions_and_gives_the_same_directions() -> None:
    clip, lengths = small_clip(), []
    clip.transformer.register_forward_hook(lambda module, inputs, _: lengths.append(inputs[0].shape[1]))
    tokens = SimpleTokenizer(context_length=CONTEXT)(["cat", "grass", "big red dog"])
    with torch.no_grad():
        found, expected = (F.normalize(way(clip, tokens), dim=-1) for way in (encode_text, encode_text_reference))
    assert lengths == [5, CONTEXT]  # start, three words, end
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_an_encoder_that_is_not_causal_uses_all_positions() -> None:
    class Sum(nn.Module):
        attn_mask = None

        def encode_text(self, tokens: Tensor) -> Tensor:
            return tokens.sum(1, keepdim=True).float()

    tokens = torch.tensor([[9, 1, 4]])
    assert encode_text(Sum(), tokens).tolist() == encode_text_reference(Sum(), tokens).tolist() == [[14.0]]
