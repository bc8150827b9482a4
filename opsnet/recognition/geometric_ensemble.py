"""The recognizer of OPSNet's successors: a geometric mean of trained and CLIP probabilities, per name.

ODISE (Xu et al. 2023, section 3.5) and FC-CLIP (Yu et al. 2023, section 3.3) combine the probabilities of a trained
head (here the query embedding) and of a frozen CLIP:

    p(i) ~ p_query(i) ** (1 - w_i) * p_clip(i) ** w_i,    w_i = seen for training names, unseen for others

Both probabilities are a softmax over the M target names, and so is the mean. No-object has no text embedding in CLIP's
space: its probability is the query's, and the names share the rest, as in FC-CLIP's published code. OVRCOAT (Kormushev
et al. 2026) lowers it where CLIP is certain of a name:

    p(no-object) = p_query(no-object) * (1 - clip_trust * max_i p_clip(i))

A proposal without a CLIP embedding, whose mask is empty on CLIP's map, has w = 0 (``ensemble_on_valid_mask`` in
FC-CLIP).
"""

from __future__ import annotations

import torch
from torch import Tensor

from opsnet.recognition.recognizer import PreparedNames, Recognizer, name_logits
from opsnet.structures import Embeddings

RULES = ("cosine", "text")


class GeometricEnsemble(Recognizer):
    """A geometric mean with one weight for seen names and one for unseen names.

    Args:
        seen: weight of CLIP for training names; FC-CLIP's alpha.
        unseen: weight of CLIP for all other names; FC-CLIP's beta.
        seen_by: when a name is a training name: "cosine": the text embeddings are the same; "text": it shares a name,
            synonyms included, literally (FC-CLIP), or by "cosine" where the names are not known (exported networks).
        clip_trust: by how much CLIP's best probability lowers that of no-object; 0: not at all; OVRCOAT's is 0.5.

    Raises:
        ValueError: a weight is outside 0..1, or the rule is unknown.
    """

    def __init__(
        self, *, seen: float = 0.4, unseen: float = 0.8, seen_by: str = "cosine", clip_trust: float = 0.0
    ) -> None:
        super().__init__()
        if not all(0 <= value <= 1 for value in (seen, unseen, clip_trust)):
            raise ValueError(
                "modulation.seen, modulation.unseen and modulation.clip_trust must lie in 0..1, got "
                f"{seen}, {unseen} and {clip_trust}"
            )
        if seen_by not in RULES:
            raise ValueError(f"modulation.seen_by must be one of {', '.join(RULES)}, got '{seen_by}'")
        self.seen, self.unseen, self.seen_by, self.clip_trust = seen, unseen, seen_by, clip_trust

    def forward(self, embeddings: Embeddings, names: PreparedNames, no_object: Tensor) -> tuple[Tensor, Tensor]:
        """Combines the probabilities.

        Args:
            embeddings: query and CLIP, (B, K, D) each.
            names: M target names.
            no_object: (D,), the learned no-object embedding.

        Returns:
            Log-probabilities of the names (B, K, M) and of no-object (B, K); a softmax over both does not change them.
        """
        query, no_object_logits = name_logits(embeddings.query, names.target, no_object, scale=embeddings.query_scale)
        clip, _ = name_logits(embeddings.clip, names.target, no_object, scale=embeddings.clip_scale)
        clip = clip.log_softmax(-1)
        weight = self._weights(embeddings, names).to(query)
        mixed = ((1 - weight) * query.log_softmax(-1) + weight * clip).log_softmax(-1)
        any_name = query.logsumexp(-1)
        total = torch.logaddexp(any_name, no_object_logits)
        log_any, log_none = any_name - total, no_object_logits - total
        if self.clip_trust:
            log_none = log_none + torch.log1p(-self.clip_trust * clip.amax(-1).exp())
            log_any = torch.log1p(-log_none.exp())
        return mixed + log_any[..., None], log_none

    def _weights(self, embeddings: Embeddings, names: PreparedNames) -> Tensor:
        """CLIP's weight for each proposal and name, (B, K, M)."""
        seen = names.seen if self.seen_by == "cosine" or names.same_text is None else names.same_text
        by_name = torch.where(seen, self.seen, self.unseen)
        has_clip = (embeddings.clip != 0).any(-1, keepdim=True)
        return by_name * has_clip
