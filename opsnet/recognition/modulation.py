"""Embedding Modulation (paper, section 3.3) and the ways of mixing embeddings that Table 4 compares it with.

Embedding Fusion     E_m = E_q + alpha * (1 - s) * E_c
Logits Debiasing     z_i / (max_j H_ij) ** beta
Domain similarity    s = mean_i max_j H_ij,   H (M, N) = cosine of target and training names

A concept with several names counts with the nearest of them, in z and in H.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opsnet.precision import full_precision
from opsnet.recognition.shortlist import pays, shortlisted_cosines
from opsnet.structures import Embeddings, TextBank

TEMPERATURE = 0.01  # section 3.1
SAME_NAME = 1e-6  # a cosine this near to 1 is the same name: a name's cosine with itself misses 1 by rounding


def cosine_logits(embeds: Tensor, text: Tensor) -> Tensor:
    """Cosine over the temperature: (B, K, D), (M, D) -> (B, K, M), in fp32 under autocast too.

    In bf16 a cosine is known to 0.004, which the temperature turns into 0.4 of a logit.
    """
    with full_precision(embeds):
        embeds, text = (F.normalize(_widened(x), dim=-1) for x in (embeds, text))
        return torch.einsum("bkd, md -> bkm", embeds, text) / TEMPERATURE


def _widened(x: Tensor) -> Tensor:
    """Half precision -> fp32; fp64 stays."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def nearest_similarity(target: TextBank, train: TextBank) -> Tensor:
    """``max_j H_ij`` of each target name, (M,) in (0, 1]; exactly 1 for a name that was trained."""
    similarity = target.embeds.double() @ train.embeds.double().T
    nearest = target.of_concepts(similarity.amax(dim=1))
    nearest = nearest.clamp(min=1e-3, max=1.0)  # above 0, or the power and the quotient are undefined
    return torch.where(nearest > 1 - SAME_NAME, torch.ones_like(nearest), nearest).to(target.embeds.dtype)


def domain_similarity(target: TextBank, train: TextBank) -> float:
    """``s``: 1 where every target name was trained."""
    return float(target.mean(nearest_similarity(target, train).double()))


class QueryOnly(nn.Module):
    """The trained embedding alone (Table 4, "Query")."""

    def forward(self, embeddings: Embeddings, target: TextBank, train: TextBank, void: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, K, D) -> logits (B, K, M) and the no-object logit (B, K)."""
        return name_logits(embeddings.query, target, void)


class ClipOnly(nn.Module):
    """The pooled CLIP embedding alone (Table 4, "CLIP")."""

    def forward(self, embeddings: Embeddings, target: TextBank, train: TextBank, void: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, K, D) -> logits (B, K, M) and the no-object logit (B, K)."""
        return name_logits(embeddings.clip, target, void)


class FixedEnsemble(nn.Module):
    """Query + n CLIP with a ratio that knows nothing of the domain (Table 4, "Ensemble")."""

    def __init__(self, *, clip_weight: float = 1.0) -> None:
        super().__init__()
        self.clip_weight = clip_weight

    def forward(self, embeddings: Embeddings, target: TextBank, train: TextBank, void: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, K, D) -> logits (B, K, M) and the no-object logit (B, K)."""
        return name_logits(_fuse(embeddings, self.clip_weight), target, void)


class EmbeddingModulation(nn.Module):
    """Embedding Fusion and Logits Debiasing.

    Args:
        alpha: strength of the fusion; 0 leaves the query embedding.
        beta: strength of the debiasing; 0 leaves the logits.
    """

    def __init__(self, *, alpha: float = 10.0, beta: float = 0.5) -> None:
        super().__init__()
        if not (0 <= alpha < math.inf and 0 <= beta < math.inf):
            raise ValueError(
                f"modulation.alpha and modulation.beta must not be negative, infinite or nan, got {alpha} and {beta}"
            )
        self.alpha, self.beta = alpha, beta

    def forward(self, embeddings: Embeddings, target: TextBank, train: TextBank, void: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes by how near the target names are to the training names.

        Args:
            embeddings: query and CLIP, (B, K, D) each.
            target, train: text banks with M and N names.
            void: (D,), the learned no-object embedding.

        Returns:
            Logits (B, K, M), and the no-object logit (B, K), which has no name to be debiased by.
        """
        nearest = nearest_similarity(target, train)
        return self.modulate(embeddings, target, void, nearest=nearest, similarity=target.mean(nearest.double()))

    def modulate(
        self, embeddings: Embeddings, target: TextBank, void: Tensor, *, nearest: Tensor, similarity: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        """The same for similarities that are known already: training asks for the same names at every step.

        Args:
            embeddings, target, void: as in :meth:`forward`.
            nearest: (M,), :func:`nearest_similarity` of the target names.
            similarity: s.
        """
        strength = self.alpha * (1 - similarity)
        divisor = nearest.to(embeddings.query) ** self.beta
        logits, no_object = name_logits(_fuse(embeddings, strength), target, void, divisor=divisor)
        return logits / divisor, no_object


def _fuse(embeddings: Embeddings, clip_weight: float | Tensor) -> Tensor:
    """Both normalised first, or a weight would mean something else for every CLIP."""
    query, clip = _widened(embeddings.query), _widened(embeddings.clip)
    if torch.compiler.is_exporting():  # the weight depends on the names, which stay open
        weight = torch.as_tensor(clip_weight).to(query)
        fused = F.normalize(query, dim=-1) + weight * F.normalize(clip, dim=-1)
        return torch.where(weight == 0, query, fused)
    clip_weight = float(clip_weight)
    if clip_weight == 0:  # the query as it is, so that trained names get the logits of QueryOnly bit for bit
        return embeddings.query
    return F.normalize(query, dim=-1) + clip_weight * F.normalize(clip, dim=-1)


def name_logits(
    embeds: Tensor, target: TextBank, void: Tensor, *, divisor: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Embeddings (B, K, D) -> logits (B, K, M), of each concept's nearest name, and the no-object logit (B, K).

    Args:
        embeds: not normalised.
        target: M names.
        void: (D,).
        divisor: (M,) by which the caller will divide: of very many names only the best need be exact, and it says which
            they are, see :mod:`opsnet.recognition.shortlist`.
    """
    if pays(embeds, target.embeds):
        rows = divisor if divisor is None or target.concept is None else divisor[target.concept]
        logits = shortlisted_cosines(embeds, target.embeds, rows) / TEMPERATURE
    else:
        logits = cosine_logits(embeds, target.embeds)
    return target.of_concepts(logits), cosine_logits(embeds, void[None])[..., 0]
