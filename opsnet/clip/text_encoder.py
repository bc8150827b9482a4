"""Names -> text embeddings, by a frozen CLIP and prompt templates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opsnet.clip.loading import weights_hash
from opsnet.clip.text_cache import TextCache
from opsnet.errors import InputError
from opsnet.structures import TextBank
from opsnet.vocabulary import Vocabulary

BANKS = 32
"""Text banks that an encoder keeps."""


class TextEncoder(nn.Module):
    """Turns vocabularies into text banks; the latest are kept.

    Args:
        clip: an open_clip model.
        tokenizer: texts -> token ids (P, L).
        templates: with ``{}`` for the name; a name's embedding is the normalised mean over the templates. The same
            ones serve target and training names, or the similarity of a name with itself would not be 1. Or one of
            :func:`prompt_templates`' names for a list, or a file.
        synonyms: whether a concept's further names count beside its first.
        cache: folder for embeddings, see :class:`opsnet.clip.text_cache.TextCache`; ``None`` computes them every time.
        chunk: prompts a forward pass.
    """

    def __init__(
        self, *, clip: nn.Module, tokenizer: Callable[[list[str]], Tensor], templates: Sequence[str] | str,
        synonyms: bool = True, cache: str | Path | None = None, chunk: int = 256,
    ) -> None:  # fmt: skip
        super().__init__()
        self.templates = prompt_templates(templates)
        self.clip, self.tokenizer, self.synonyms, self.chunk = clip, tokenizer, synonyms, chunk
        self.cache = TextCache(cache) if cache is not None else None
        self._banks: dict[Vocabulary, TextBank] = {}

    @cached_property
    def weights_hash(self) -> str:
        """Of the whole CLIP, see :func:`opsnet.clip.loading.weights_hash`."""
        return weights_hash(self.clip)

    @torch.no_grad()
    def forward(self, vocabulary: Vocabulary) -> TextBank:
        """The vocabulary's text bank, embeddings (R, D) of all names that count, on the CPU."""
        if vocabulary not in self._banks:
            names = self._counting(vocabulary)
            counts = torch.tensor([len(n) for n in names])
            self._banks[vocabulary] = TextBank(
                name=vocabulary.name,
                names=vocabulary.names,
                is_thing=torch.tensor(vocabulary.is_thing),
                embeds=self._rows([name for concept in names for name in concept]),
                concept=torch.arange(len(names)).repeat_interleave(counts) if counts.sum() > len(names) else None,
            )
            if len(self._banks) > BANKS:  # a web page sees new ones all day
                self._banks.pop(next(iter(self._banks)))
        return self._banks[vocabulary]

    def _counting(self, vocabulary: Vocabulary) -> list[tuple[str, ...]]:
        """The names of each concept that count."""
        return [c.names if self.synonyms else c.names[:1] for c in vocabulary.concepts]

    def cut_names(self, vocabulary: Vocabulary) -> list[str]:
        """Names of which CLIP does not read all: in the longest template they have too many tokens for its context."""
        encode, context = getattr(self.tokenizer, "encode", None), getattr(self.tokenizer, "context_length", None)
        if encode is None or context is None:  # another tokenizer; it may read texts of any length
            return []
        longest = max(len(encode(t.replace("{}", ""))) for t in self.templates)
        names = [name for concept in self._counting(vocabulary) for name in concept]
        return [name for name in names if longest + len(encode(name)) > context - 2]  # a start and an end token

    def _rows(self, names: list[str]) -> Tensor:
        """Names -> (R, D), from the disk where they are there."""
        if self.cache is None:
            return self._embed(names)
        rows = self.cache.rows(names, self._embed, weights=self.weights_hash, templates=self.templates)
        return F.normalize(rows, dim=-1)

    def _embed(self, names: list[str]) -> Tensor:
        """Names -> (R, D), normalised means over the templates."""
        prompts = [t.replace("{}", name) for name in names for t in self.templates]
        rows = [self._encode(prompts[i : i + self.chunk]) for i in range(0, len(prompts), self.chunk)]
        return F.normalize(torch.cat(rows).unflatten(0, (len(names), len(self.templates))).mean(1), dim=-1)

    def _encode(self, prompts: list[str]) -> Tensor:
        device = next(self.clip.parameters()).device
        tokens = self.tokenizer(prompts).to(device)
        return F.normalize(_encode_text(self.clip, tokens).float(), dim=-1).cpu()


def prompt_templates(spec: Sequence[str] | str) -> tuple[str, ...]:
    """Prompt templates with ``{}`` for the name.

    Args:
        spec: the templates; or ``imagenet80``, ``imagenet7`` (the lists of CLIP's authors, from open_clip); or the path
            of a .txt file with one a line.

    Raises:
        InputError: an unknown name, a missing file, no template, or one without ``{}``.
    """
    if isinstance(spec, str):
        spec = _named_templates(spec)
    if not spec or any("{}" not in t for t in spec):
        raise InputError(f"clip.templates must be texts that hold {{}} for the name, got {list(spec)}")
    return tuple(spec)


def _named_templates(name: str) -> list[str]:
    if name in ("imagenet80", "imagenet7"):
        from open_clip import zero_shot_metadata as lists

        functions = lists.OPENAI_IMAGENET_TEMPLATES if name == "imagenet80" else lists.SIMPLE_IMAGENET_TEMPLATES
        return [function("{}") for function in functions]
    path = Path(name).expanduser()
    if not path.is_file():
        raise InputError(f"clip.templates={name}: neither imagenet80 nor imagenet7 nor a file: give one, or a list")
    return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


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
