"""Embedding Modulation with learned strengths that depend on a name's similarity to the training names.

The paper uses one alpha and one beta for all names (section 3.3, Table 6). Here each name has three strengths,
functions of d = 1 - max_j H_ij, its distance from the training names (s: the domain similarity; T = 0.01, or one over
the learned scale of the query logits):

    a(d) = alpha exp(alpha_slope d)        b(d) = beta + beta_slope d        c(d) = scale exp(scale_slope d)

    z_i = c(d_i) cos(E_q + a(d_i) (1 - s) E_c, t_i) / (T (1 - d_i) ** b(d_i))

No-object has no name; it is scored with a(1 - s) and without debiasing. Training starts from slopes of 0 and a scale of
1, which is :class:`~opsnet.recognition.modulation.EmbeddingModulation`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opsnet.ops.cosines import cosines_reference
from opsnet.ops.precision import widened
from opsnet.recognition.recognizer import PreparedNames, Recognizer
from opsnet.structures import Embeddings


class LearnedModulation(Recognizer):
    """Six parameters, trained on names that are held out from the queries (:mod:`opsnet.losses.recognition`).

    Args:
        alpha, beta, scale: initial values for training names; the paper's by default.
        alpha_slope, beta_slope, scale_slope: initial slopes over a name's distance from the training names.

    Raises:
        ValueError: ``alpha`` or ``scale`` is not above 0, or a value is not finite.
    """

    def __init__(
        self, *, alpha: float = 10.0, beta: float = 0.5, scale: float = 1.0, alpha_slope: float = 0.0,
        beta_slope: float = 0.0, scale_slope: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        start = (alpha, beta, scale, alpha_slope, beta_slope, scale_slope)
        if not (alpha > 0 and scale > 0 and all(map(math.isfinite, start))):
            raise ValueError(
                "modulation.alpha and modulation.scale must be above 0, and all numbers finite, got "
                f"alpha={alpha}, beta={beta}, scale={scale}, slopes {alpha_slope}, {beta_slope}, {scale_slope}"
            )
        self.alpha, self.beta, self.scale = alpha, beta, scale
        self.alpha_slope, self.beta_slope, self.scale_slope = alpha_slope, beta_slope, scale_slope
        self.at_training_names = nn.Parameter(torch.tensor([math.log(alpha), beta, math.log(scale)]))
        self.slopes = nn.Parameter(torch.tensor([alpha_slope, beta_slope, scale_slope]))

    def forward(self, embeddings: Embeddings, names: PreparedNames, no_object: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, K, D) -> logits (B, K, M) and the no-object logit (B, K)."""
        target, query, clip = names.target, widened(embeddings.query), widened(embeddings.clip)
        agreement = F.cosine_similarity(query, clip, dim=-1)[..., None]  # of the two embeddings of a proposal
        nearest, logit_scale = names.nearest.to(query), embeddings.query_scale
        alpha, beta, scale = self.numbers(1 - nearest)
        far = 1 - names.similarity.to(query)
        weight = alpha * far
        rows = weight if target.concept is None else weight[target.concept]
        logits = target.max_per_concept(_fused_logits(query, clip, target.embeds, rows, agreement)) * logit_scale
        general = self.numbers(far)[0] * far
        no_object_logits = _fused_logits(query, clip, no_object[None], general[None], agreement)[..., 0] * logit_scale
        return logits * scale / nearest**beta, no_object_logits

    def numbers(self, distance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """alpha, beta and scale of names at ``distance`` (any shape, 0..1) from the training names."""
        log_alpha, beta, log_scale = (
            at + slope * distance for at, slope in zip(self.at_training_names, self.slopes, strict=True)
        )
        return log_alpha.exp(), beta, log_scale.exp()

    def settings(self) -> dict[str, float]:
        """The arguments that rebuild it in its current state, e.g. to use the learned values with another network."""
        keys = ("alpha", "beta", "scale")
        values = self.at_training_names.tolist()
        at = {"alpha": math.exp(values[0]), "beta": values[1], "scale": math.exp(values[2])}
        return at | {f"{key}_slope": slope for key, slope in zip(keys, self.slopes.tolist(), strict=True)}


def _fused_logits(query: Tensor, clip: Tensor, text: Tensor, weight: Tensor, agreement: Tensor) -> Tensor:
    """Cosine of ``E_q + weight E_c``, both L2-normalised, with a weight per row of ``text``.

    Expanded to (q.t + w c.t) / |q + w c|, which avoids a fused embedding per name.

    Args:
        query, clip: (B, K, D).
        text: (R, D).
        weight: (R,).
        agreement: (B, K, 1), cosine of the two.
    """
    length = (1 + weight**2 + 2 * weight * agreement).clamp(min=1e-6).sqrt()
    return (cosines_reference(query, text) + weight * cosines_reference(clip, text)) / length
