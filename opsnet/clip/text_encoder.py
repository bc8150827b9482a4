"""Names -> text embeddings, by a frozen CLIP and prompt templates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opsnet.structures import TextBank
from opsnet.vocabulary import Vocabulary


class TextEncoder(nn.Module):
    """Turns vocabularies into text banks; each is computed once and kept.

    Args:
        clip: an open_clip model.
        tokenizer: texts -> token ids (P, L).
        templates: with ``{}`` for the name; a name's embedding is the normalised mean over the templates. The same
            ones serve target and training names, or the similarity of a name with itself would not be 1.
        chunk: prompts a forward pass.
    """

    def __init__(
        self, *, clip: nn.Module, tokenizer: Callable[[list[str]], Tensor], templates: Sequence[str], chunk: int = 256
    ) -> None:
        super().__init__()
        if not templates or any("{}" not in t for t in templates):
            raise ValueError(
                f"clip.templates must be a list of texts that hold {{}} for the name, got {list(templates)}"
            )
        self.clip, self.tokenizer, self.templates, self.chunk = clip, tokenizer, tuple(templates), chunk
        self._banks: dict[Vocabulary, TextBank] = {}

    @torch.no_grad()
    def forward(self, vocabulary: Vocabulary) -> TextBank:
        """The vocabulary's text bank, embeddings (M, D), on the CPU."""
        if vocabulary not in self._banks:
            prompts = [t.format(name) for name in vocabulary.names for t in self.templates]
            rows = [self._encode(prompts[i : i + self.chunk]) for i in range(0, len(prompts), self.chunk)]
            embeds = torch.cat(rows).unflatten(0, (len(vocabulary), len(self.templates))).mean(1)
            self._banks[vocabulary] = TextBank(
                name=vocabulary.name,
                names=vocabulary.names,
                is_thing=torch.tensor(vocabulary.is_thing),
                embeds=F.normalize(embeds, dim=-1),
            )
        return self._banks[vocabulary]

    def _encode(self, prompts: list[str]) -> Tensor:
        device = next(self.clip.parameters()).device
        tokens = self.tokenizer(prompts).to(device)
        return F.normalize(_encode_text(self.clip, tokens).float(), dim=-1).cpu()


def _encode_text(clip: Any, tokens: Tensor) -> Tensor:
    """Token ids (P, L) -> embeddings (P, D), without the padding that all prompts share.

    In a causal tower nothing that stands after a prompt's end (its largest id) can change what is read there, so
    open_clip's tower runs on fewer positions: several times as fast for names, which are short.
    """
    causal = getattr(clip, "attn_mask", None) is not None and getattr(clip, "text_pool_type", None) == "argmax"
    if not causal:  # towers of another kind, such as the miniature's, read every position
        return clip.encode_text(tokens)  # type: ignore[no-any-return]
    length = int(tokens.argmax(-1).max()) + 1
    shorter = {
        "positional_embedding": clip.positional_embedding[:length],
        "attn_mask": clip.attn_mask[:length, :length],
    }
    answer = torch.func.functional_call(clip, shorter, kwargs={"text": tokens[:, :length]})
    embeds: Tensor = answer["text_features"] if isinstance(answer, dict) else answer[1]
    return embeds
