"""Embedding Modulation (paper, section 3.3) and the recognizers that Table 4 compares it with.

Embedding Fusion     E_m = E_q + alpha * (1 - s) * E_c
Logits Debiasing     z_i / (max_j H_ij) ** beta

A concept with several names counts with the nearest of them, in z and in H.
"""

from __future__ import annotations

import math

from torch import Tensor

from opsnet.ops.fusion import fuse_directions
from opsnet.ops.precision import widened
from opsnet.recognition.recognizer import PreparedNames, Recognizer, name_logits
from opsnet.structures import Embeddings


class QueryOnly(Recognizer):
    """The trained embedding alone (Table 4, "Query")."""

    def forward(self, embeddings: Embeddings, names: PreparedNames, no_object: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, K, D) -> logits (B, K, M) and the no-object logit (B, K)."""
        return name_logits(embeddings.query, names.target, no_object)


class ClipOnly(Recognizer):
    """The pooled CLIP embedding alone (Table 4, "CLIP")."""

    def forward(self, embeddings: Embeddings, names: PreparedNames, no_object: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, K, D) -> logits (B, K, M) and the no-object logit (B, K)."""
        return name_logits(embeddings.clip, names.target, no_object)


class FixedEnsemble(Recognizer):
    """Query + n CLIP with a ratio that does not depend on the domain (Table 4, "Ensemble")."""

    def __init__(self, *, clip_weight: float = 1.0) -> None:
        super().__init__()
        self.clip_weight = clip_weight

    def forward(self, embeddings: Embeddings, names: PreparedNames, no_object: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, K, D) -> logits (B, K, M) and the no-object logit (B, K)."""
        return name_logits(_fuse(embeddings, self.clip_weight), names.target, no_object)


class EmbeddingModulation(Recognizer):
    """Embedding Fusion and Logits Debiasing: weights both embeddings by how similar the target names are to the
    training names.

    Args:
        alpha: strength of the fusion; 0 leaves the query embedding.
        beta: strength of the debiasing; 0 leaves the logits.

    Raises:
        ValueError: a strength that is negative, infinite or nan.
    """

    def __init__(self, *, alpha: float = 10.0, beta: float = 0.5) -> None:
        super().__init__()
        if not (0 <= alpha < math.inf and 0 <= beta < math.inf):
            raise ValueError(
                f"modulation.alpha and modulation.beta must not be negative, infinite or nan, got {alpha} and {beta}"
            )
        self.alpha, self.beta = alpha, beta

    def forward(self, embeddings: Embeddings, names: PreparedNames, no_object: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, K, D) -> logits (B, K, M), and the no-object logit (B, K), which no name debiases."""
        divisor = names.nearest.to(embeddings.query) ** self.beta
        fused = _fuse(embeddings, self.alpha * (1 - names.similarity))
        logits, no_object_logits = name_logits(fused, names.target, no_object, divisor=divisor)
        return logits / divisor, no_object_logits


def _fuse(embeddings: Embeddings, clip_weight: float | Tensor) -> Tensor:
    """Both normalised first, or a weight would mean something else for every CLIP.

    With a weight of 0 it is the query as it is, so that trained names get the logits of QueryOnly bit for bit.
    """
    return fuse_directions(widened(embeddings.query), widened(embeddings.clip), clip_weight)
