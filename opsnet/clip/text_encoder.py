"""Class names -> text embeddings, with a frozen CLIP and prompt templates.

Embeddings are computed in the precision of CLIP's weights, without autocast: Embedding Modulation relies on a cosine of
1 between a name and itself, which does not hold if one of the two was embedded under autocast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opsnet.clip.loading import clip_hash
from opsnet.clip.prompts import prompt_templates
from opsnet.clip.text_cache import TextCache, require_finite
from opsnet.ops.text_tower import encode_text
from opsnet.structures import TextBank
from opsnet.vocabulary import Vocabulary

BANKS = 32
"""Number of text banks that an encoder keeps in memory."""


class TextEncoder(nn.Module):
    """Computes the text banks of vocabularies; the most recent ones are kept in memory.

    Args:
        clip: an open_clip model.
        tokenizer: texts -> token ids (P, L).
        templates: prompt templates with ``{}`` for the name; a name's embedding is the normalised mean over the
            templates. Target and training names use the same ones, otherwise a name's similarity with itself would not
            be 1. Or the name of a list or a file, see :func:`opsnet.clip.prompts.prompt_templates`.
        synonyms: whether to use all names of a concept or only its first.
        cache: folder for embeddings, see :class:`opsnet.clip.text_cache.TextCache`; ``None``: no cache.
        chunk: prompts per forward pass.
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
    def clip_hash(self) -> str:
        """Hash of the whole CLIP, see :func:`opsnet.clip.loading.clip_hash`."""
        return clip_hash(self.clip)

    @torch.no_grad()
    def forward(self, vocabulary: Vocabulary) -> TextBank:
        """The vocabulary's text bank on the CPU, with embeddings (R, D) float32 of all used names.

        A name has bitwise the same embedding in all banks that are in memory.
        """
        if vocabulary not in self._banks:
            counts = torch.tensor([len(names) for names in self._counting(vocabulary)])
            self._banks[vocabulary] = TextBank(
                name=vocabulary.name,
                names=vocabulary.names,
                is_thing=torch.tensor(vocabulary.is_thing),
                embeds=self._rows(self._all_names(vocabulary)),
                concept=torch.arange(len(counts)).repeat_interleave(counts) if counts.sum() > len(counts) else None,
            )
            if len(self._banks) > BANKS:  # the web demo gets new vocabularies all the time
                self._banks.pop(next(iter(self._banks)))
        return self._banks[vocabulary]

    def _counting(self, vocabulary: Vocabulary) -> list[tuple[str, ...]]:
        """The names of each concept that are used."""
        return [c.names if self.synonyms else c.names[:1] for c in vocabulary.concepts]

    def _all_names(self, vocabulary: Vocabulary) -> list[str]:
        """The name of each row of a bank."""
        return [name for names in self._counting(vocabulary) for name in names]

    def truncated_names(self, vocabulary: Vocabulary) -> list[str]:
        """Names that CLIP truncates, because with the longest template they have too many tokens for its context."""
        encode, context = getattr(self.tokenizer, "encode", None), getattr(self.tokenizer, "context_length", None)
        if encode is None or context is None:  # another tokenizer, possibly without a limit
            return []
        longest = max(len(encode(t.replace("{}", ""))) for t in self.templates)
        room = context - 2 - longest  # minus start and end token
        return [name for name in self._all_names(vocabulary) if len(encode(name)) > room]

    def _rows(self, names: list[str]) -> Tensor:
        """Names -> (R, D)."""
        distinct = list(dict.fromkeys(names))
        with _without_autocast("cpu", self._weight.device.type):
            rows = self._computed(distinct)
        self._replace_known(distinct, rows)
        position = {name: row for row, name in enumerate(distinct)}
        return rows[[position[name] for name in names]]

    def _replace_known(self, names: list[str], rows: Tensor) -> None:
        """Replaces ``rows`` (R, D) by the embeddings of the same names in banks that are in memory.

        The last digit depends on which names are encoded together, and cached embeddings may differ more if the file
        was written on another device.
        """
        for vocabulary, bank in self._banks.items():
            known = {name: row for row, name in enumerate(self._all_names(vocabulary))}
            both = [(row, known[name]) for row, name in enumerate(names) if name in known]
            if both:
                here, there = torch.tensor(both).unbind(1)
                rows[here] = bank.embeds[there]

    def _computed(self, names: list[str]) -> Tensor:
        """Names -> (R, D), from the disk cache if possible."""
        if self.cache is None:
            return require_finite(self._embed(names), names)
        precision = f"{self._weight.dtype}, {torch.get_float32_matmul_precision()}"
        rows = self.cache.rows(names, self._embed, clip=self.clip_hash, precision=precision, templates=self.templates)
        return F.normalize(rows, dim=-1)

    @property
    def _weight(self) -> Tensor:
        """One of CLIP's weights, for its device and precision."""
        return next(self.clip.parameters())

    def _embed(self, names: list[str]) -> Tensor:
        """Names -> (R, D): normalised means over the templates."""
        prompts = [t.replace("{}", name) for name in names for t in self.templates]
        rows = [self._encode(prompts[i : i + self.chunk]) for i in range(0, len(prompts), self.chunk)]
        return F.normalize(torch.cat(rows).unflatten(0, (len(names), len(self.templates))).mean(1), dim=-1)

    def _encode(self, prompts: list[str]) -> Tensor:
        tokens = self.tokenizer(prompts).to(self._weight.device)
        return F.normalize(encode_text(self.clip, tokens).float(), dim=-1).cpu()


@contextmanager
def _without_autocast(*device_types: str) -> Iterator[None]:
    """Disables autocast, whatever precision the trainer uses."""
    with ExitStack() as stack:
        for device_type in device_types:
            stack.enter_context(torch.autocast(device_type, enabled=False))
        yield
