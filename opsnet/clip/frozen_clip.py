"""One frozen CLIP for both of its uses: dense image features and text banks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor, nn

from opsnet.clip.image_encoder import ClipImageEncoder
from opsnet.clip.text_encoder import TextEncoder

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


class FrozenClip(nn.Module):
    """Wraps an open_clip model for OPSNet.

    Args:
        model: an open_clip CLIP with a ResNet or ConvNeXt (see :func:`opsnet.clip.loading.load_clip`).
        tokenizer: texts -> token ids (P, L).
        templates: prompt templates, see :func:`opsnet.clip.prompts.prompt_templates`.
        synonyms: whether to use all names of a concept or only its first.
        text_cache: folder in which text embeddings are cached between runs; ``None``: no cache.
        mean, std: the image normalisation with which CLIP was trained, RGB in 0..1.
        pooling: how CLIP's map becomes an embedding per proposal, see :class:`ClipImageEncoder`.
        pool_stride: average the feature map to this stride in pixels for Mask Pooling; ``None``: the trunk's stride.
        precision: precision of the image encoder, "fp32" or "bf16"; ``None``: the trainer's.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        tokenizer: Callable[[list[str]], Tensor],
        templates: Sequence[str] | str,
        synonyms: bool = True,
        text_cache: str | Path | None = None,
        mean: Sequence[float] = OPENAI_MEAN,
        std: Sequence[float] = OPENAI_STD,
        pooling: str | None = None,
        pool_stride: int | None = None,
        precision: str | None = None,
    ) -> None:
        super().__init__()
        self.image_encoder = ClipImageEncoder(
            clip=model, mean=mean, std=std, pooling=pooling, pool_stride=pool_stride, precision=precision
        )
        self.text_encoder = TextEncoder(
            clip=model, tokenizer=tokenizer, templates=templates, synonyms=synonyms, cache=text_cache
        )
        self.requires_grad_(False).eval()

    @property
    def embed_dim(self) -> int:
        """D."""
        return self.image_encoder.embed_dim

    @property
    def logit_scale(self) -> float:
        """The factor by which CLIP multiplies cosines, at most 100 as in its training."""
        learned: Tensor = self.text_encoder.clip.logit_scale.detach()  # type: ignore[operator, assignment]
        return min(float(learned.exp()), 100.0)

    @property
    def weights_hash(self) -> str:
        """The hash that checkpoints store instead of CLIP's weights, see :func:`opsnet.clip.loading.clip_hash`."""
        return self.text_encoder.clip_hash

    def train(self, mode: bool = True) -> FrozenClip:
        """Stays in evaluation mode."""
        return super().train(False)
