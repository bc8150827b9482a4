"""What all recognizers share: the interface, prepared names, and cosine logits (paper, section 3.3).

Domain similarity    s = mean_i max_j H_ij,   H (M, N) = cosines between target and training names
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from opsnet.ops.cosines import cosines, cosines_reference
from opsnet.structures import Embeddings, TextBank

TEMPERATURE = 0.01  # section 3.1
SAME_NAME = 1e-6  # names whose cosine is this close to 1 are the same: rounding keeps it from being exactly 1


@dataclass(frozen=True)
class PreparedNames:
    """Everything recognizers use about the target names, computed once per pair of vocabularies by :func:`prepare`.

    Attributes:
        target: text bank of the M target names.
        train: text bank of the N training names.
        nearest: ``max_j H_ij`` of each target name, (M,) in (0, 1]; exactly 1 for a training name.
        similarity: s, a 0-dimensional tensor; 1 if all target names are training names.
    """

    target: TextBank
    train: TextBank
    nearest: Tensor
    similarity: Tensor

    @property
    def seen(self) -> Tensor:
        """Which target names are training names, (M,) bool."""
        return self.nearest == 1

    def select(self, concepts: Tensor) -> PreparedNames:
        """Keeps only some target names, int64 (C,) in ascending order; s remains that of all names."""
        return PreparedNames(self.target.select(concepts), self.train, self.nearest[concepts], self.similarity)


def prepare(target: TextBank, train: TextBank) -> PreparedNames:
    """Prepares M target names for prediction by queries trained with N names."""
    nearest = nearest_similarity(target, train)
    return PreparedNames(target, train, nearest, target.mean(nearest.double()))


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


def cosine_logits(embeds: Tensor, text: Tensor) -> Tensor:
    """Cosines divided by the temperature: (B, K, D), (M, D) -> (B, K, M), in fp32 also under autocast.

    In bf16 a cosine is precise to 0.004, which the temperature turns into 0.4 in the logit.
    """
    return cosines_reference(embeds, text) / TEMPERATURE


def name_logits(
    embeds: Tensor, target: TextBank, no_object: Tensor, *, divisor: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Embeddings (B, K, D) -> logits (B, K, M) of each concept's best name, and the no-object logit (B, K).

    Args:
        embeds: not normalised.
        target: M names.
        no_object: (D,).
        divisor: (M,) by which the caller will divide the logits. With very many names only the best logits are exact,
            and the divisor determines which are the best, see :func:`opsnet.ops.cosines.cosines`.
    """
    rows = divisor if divisor is None or target.concept is None else divisor[target.concept]
    logits = cosines(embeds, target.embeds, rows) / TEMPERATURE
    return target.max_per_concept(logits), cosine_logits(embeds, no_object[None])[..., 0]
