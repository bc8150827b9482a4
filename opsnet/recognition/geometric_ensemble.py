"""The recognizer of OPSNet's successors: a geometric mean of trained and CLIP probabilities, per name.

ODISE (Xu et al. 2023, section 3.5) and FC-CLIP (Yu et al. 2023, section 3.3) combine the probabilities of a trained
head (here the query embedding) and of a frozen CLIP:

    p(i) ~ p_query(i) ** (1 - w_i) * p_clip(i) ** w_i,    w_i = seen for training names, unseen for others

Both probabilities are a softmax over the M target names, and so is the mean. No-object has no text embedding in CLIP's
space: its probability is the query's, and the names share the rest, as in FC-CLIP's published code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from opsnet.recognition.recognizer import PreparedNames, Recognizer, name_logits
from opsnet.structures import Embeddings


class GeometricEnsemble(Recognizer):
    """A geometric mean with one weight for seen names and one for unseen names.

    Args:
        seen: weight of CLIP for training names; FC-CLIP's alpha.
        unseen: weight of CLIP for all other names; FC-CLIP's beta.

    Raises:
        ValueError: a weight is outside 0..1.
    """

    def __init__(self, *, seen: float = 0.4, unseen: float = 0.8) -> None:
        super().__init__()
        if not (0 <= seen <= 1 and 0 <= unseen <= 1):
            raise ValueError(f"modulation.seen and modulation.unseen must lie in 0..1, got {seen} and {unseen}")
        self.seen, self.unseen = seen, unseen

    def forward(self, embeddings: Embeddings, names: PreparedNames, no_object: Tensor) -> tuple[Tensor, Tensor]:
        """Combines the probabilities.

        Args:
            embeddings: query and CLIP, (B, K, D) each.
            names: M target names; a name is seen if it is also a training name.
            no_object: (D,), the learned no-object embedding.

        Returns:
            Log-probabilities of the names (B, K, M) and of no-object (B, K); a softmax over both does not change them.
        """
        query, no_object_logits = name_logits(embeddings.query, names.target, no_object)
        clip, _ = name_logits(embeddings.clip, names.target, no_object)
        weight = torch.where(names.seen, self.seen, self.unseen).to(query)
        mixed = ((1 - weight) * query.log_softmax(-1) + weight * clip.log_softmax(-1)).log_softmax(-1)
        any_name = query.logsumexp(-1)
        total = torch.logaddexp(any_name, no_object_logits)
        return mixed + (any_name - total)[..., None], no_object_logits - total
