"""What all recognizers share: the interface, prepared names, and cosine logits (paper, section 3.3).

Domain similarity    s = mean_i max_j H_ij,   H (M, N) = cosines between target and training names
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from opsnet.ops.cosines import cosines, cosines_reference
from opsnet.ops.fusion import fuse_directions
from opsnet.ops.precision import widened
from opsnet.structures import LOGIT_SCALE, Embeddings, TextBank

SAME_NAME = 1e-6  # names whose cosine is this close to 1 are the same: rounding keeps it from being exactly 1


@dataclass(frozen=True)
class PreparedNames:
    """Everything recognizers use about the target names, computed once per pair of vocabularies by :func:`prepare`.

    Attributes:
        target: text bank of the M target names.
        train: text bank of the N training names.
        nearest: ``max_j H_ij`` of each target name, (M,) in (0, 1]; exactly 1 for a training name.
        similarity: s, a 0-dimensional tensor; 1 if all target names are training names.
        same_text: which target names have a name, synonyms included, that is literally one of the training names, (M,)
            bool; ``None`` if only the embeddings are known.
    """

    target: TextBank
    train: TextBank
    nearest: Tensor
    similarity: Tensor
    same_text: Tensor | None = None

    @property
    def seen(self) -> Tensor:
        """Which target names are training names, (M,) bool."""
        return self.nearest == 1

    def select(self, concepts: Tensor) -> PreparedNames:
        """Keeps only some target names, int64 (C,) in ascending order; s remains that of all names."""
        same_text = None if self.same_text is None else self.same_text[concepts]
        nearest = self.nearest[concepts]
        return PreparedNames(self.target.select(concepts), self.train, nearest, self.similarity, same_text)

    def to(self, device: torch.device | str) -> PreparedNames:
        """The same with every tensor on ``device``."""
        same_text = None if self.same_text is None else self.same_text.to(device)
        nearest, similarity = self.nearest.to(device), self.similarity.to(device)
        return PreparedNames(self.target.to(device), self.train.to(device), nearest, similarity, same_text)


def prepare(target: TextBank, train: TextBank, same_text: Sequence[bool] | None = None) -> PreparedNames:
    """Prepares M target names for prediction by queries trained with N names; ``same_text``: M flags."""
    nearest = nearest_similarity(target, train)
    flags = None if same_text is None else torch.tensor(same_text, device=nearest.device)
    return PreparedNames(target, train, nearest, target.mean(nearest.double()), flags)


class Recognizer(nn.Module):
    """Maps both embeddings of each proposal to logits. One with parameters is trained and saved with the model.

    Attributes:
        needs_query_embeddings: whether it needs trained query embeddings; published Mask2Former weights have none.
    """

    needs_query_embeddings: ClassVar[bool] = True

    def forward(self, embeddings: Embeddings, names: PreparedNames, no_object: Tensor) -> tuple[Tensor, Tensor]:
        """Scores the target names.

        Args:
            embeddings: query and CLIP, (B, K, D) each.
            names: M target names.
            no_object: (D,), the learned no-object embedding.

        Returns:
            Logits (B, K, M), and the no-object logit (B, K).
        """
        raise NotImplementedError

    def compared(self, embeddings: Embeddings, names: PreparedNames) -> Tensor:
        """The embedding of each proposal that names are compared with, (B, K, D), for users who ask for cosines.

        Here the sum of both, each L2-normalised; recognizers that compare another embedding return that one.

        Args:
            embeddings: query and CLIP, (B, K, D) each.
            names: M target names.
        """
        return fuse_directions(widened(embeddings.query), widened(embeddings.clip), 1.0)

    def settings(self) -> dict[str, Any]:
        """The constructor arguments that rebuild it.

        Raises:
            AttributeError: an argument is not stored as an attribute of the same name.
        """
        parameters = inspect.signature(type(self)).parameters.values()
        names = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]  # nn.Module's own
        return {name: getattr(self, name) for name in names}


def nearest_similarity(target: TextBank, train: TextBank) -> Tensor:
    """``max_j H_ij`` of each target name, (M,) in (0, 1]; exactly 1 for a training name."""
    similarity = target.embeds.double() @ train.embeds.double().T
    nearest = target.max_per_concept(similarity.amax(dim=1))
    nearest = nearest.clamp(min=1e-3, max=1.0)  # above 0, because it is a divisor with a fractional exponent
    return torch.where(nearest > 1 - SAME_NAME, torch.ones_like(nearest), nearest).to(target.embeds.dtype)


def domain_similarity(target: TextBank, train: TextBank) -> float:
    """The domain similarity s; 1 if all target names are training names."""
    return float(prepare(target, train).similarity)


def cosine_logits(embeds: Tensor, text: Tensor, scale: float | Tensor = LOGIT_SCALE) -> Tensor:
    """Cosines times ``scale``: (B, K, D), (M, D) -> (B, K, M), in fp32 also under autocast.

    In bf16 a cosine is precise to 0.004, which a scale of 100 turns into 0.4 in the logit.
    """
    return cosines_reference(embeds, text) * scale


def name_logits(
    embeds: Tensor, target: TextBank, no_object: Tensor, *, scale: float | Tensor = LOGIT_SCALE,
    divisor: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Embeddings (B, K, D) -> logits (B, K, M) of each concept's best name, and the no-object logit (B, K).

    Args:
        embeds: not normalised.
        target: M names.
        no_object: (D,).
        scale: by which cosines are multiplied.
        divisor: (M,) by which the caller will divide the logits. With very many names only the best logits are exact,
            and the divisor determines which are the best, see :func:`opsnet.ops.cosines.cosines`.
    """
    rows = divisor if divisor is None or target.concept is None else divisor[target.concept]
    logits = cosines(embeds, target.embeds, rows) * scale
    return target.max_per_concept(logits), cosine_logits(embeds, no_object[None], scale)[..., 0]
