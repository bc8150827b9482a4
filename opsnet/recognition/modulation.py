"""Embedding Modulation (paper, section 3.3) and the recognizers that Table 4 compares it with.

Embedding Fusion     E_m = E_q + alpha * (1 - s) * E_c
Logits Debiasing     z_i / (max_j H_ij) ** beta

For a concept with several names, z and H are those of the name that fits best.
"""

from __future__ import annotations

from torch import Tensor

from opsnet.ops.fusion import fuse_directions
from opsnet.ops.precision import widened
from opsnet.recognition.recognizer import PreparedNames, Recognizer, name_logits
from opsnet.structures import Embeddings

LARGEST_ALPHA, LARGEST_BETA = 1000.0, 10.0
"""The paper has at most 20 and 1.5. H is at least 0.001, so logits, up to 100 / H ** beta, overflow from beta = 12."""


class QueryOnly(Recognizer):
    """The trained query embedding only (Table 4, "Query")."""

    def forward(self, embeddings: Embeddings, names: PreparedNames, no_object: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, K, D) -> logits (B, K, M) and the no-object logit (B, K)."""
        return name_logits(embeddings.query, names.target, no_object, scale=embeddings.query_scale)


class ClipOnly(Recognizer):
    """The pooled CLIP embedding only (Table 4, "CLIP")."""

    needs_query_embeddings = False

    def forward(self, embeddings: Embeddings, names: PreparedNames, no_object: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, K, D) -> logits (B, K, M) and the no-object logit (B, K)."""
        return name_logits(embeddings.clip, names.target, no_object, scale=embeddings.clip_scale)


class FixedEnsemble(Recognizer):
    """Query + n CLIP with a ratio that does not depend on the domain (Table 4, "Ensemble")."""

    def __init__(self, *, clip_weight: float = 1.0) -> None:
        super().__init__()
        self.clip_weight = clip_weight

    def forward(self, embeddings: Embeddings, names: PreparedNames, no_object: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, K, D) -> logits (B, K, M) and the no-object logit (B, K)."""
        fused = _fuse(embeddings, self.clip_weight)
        return name_logits(fused, names.target, no_object, scale=embeddings.query_scale)


class EmbeddingModulation(Recognizer):
    """Embedding Fusion and Logits Debiasing: weights both embeddings by how similar the target names are to the
    training names.

    Args:
        alpha: strength of the fusion; 0 uses the query embedding only.
        beta: strength of the debiasing; 0 leaves the logits unchanged.

    Raises:
        ValueError: a strength is negative, nan, or exceeds :data:`LARGEST_ALPHA` or :data:`LARGEST_BETA`.
    """

    def __init__(self, *, alpha: float = 10.0, beta: float = 0.5) -> None:
        super().__init__()
        if not (0 <= alpha <= LARGEST_ALPHA and 0 <= beta <= LARGEST_BETA):
            raise ValueError(
                f"modulation.alpha must lie in 0..{LARGEST_ALPHA:g} and modulation.beta in 0..{LARGEST_BETA:g}, "
                f"got {alpha} and {beta}"
            )
        self.alpha, self.beta = alpha, beta

    def forward(self, embeddings: Embeddings, names: PreparedNames, no_object: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, K, D) -> logits (B, K, M), and the no-object logit (B, K), which is not debiased."""
        divisor = names.nearest.to(embeddings.query) ** self.beta
        fused = _fuse(embeddings, self.alpha * (1 - names.similarity))
        scale = embeddings.query_scale  # with which no-object was trained
        logits, no_object_logits = name_logits(fused, names.target, no_object, scale=scale, divisor=divisor)
        return logits / divisor, no_object_logits


def _fuse(embeddings: Embeddings, clip_weight: float | Tensor) -> Tensor:
    """Normalises both first, because otherwise the effect of the weight would depend on the CLIP model.

    With a weight of 0 the query is returned unchanged, so that training names get the exact logits of QueryOnly.
    """
    return fuse_directions(widened(embeddings.query), widened(embeddings.clip), clip_weight)
