"""A CLIP small enough to train on two CPU cores in minutes, built from open_clip's classes.

The image tower is open_clip's ModifiedResNet with attention pool (RN50's design), reduced to three stages and stride 8.
The text tower is ours: with open_clip's (end-token pooling, token embeddings at std 0.02) the shape words of the
synthetic world still had a cosine of 0.99 after the few thousand steps that are affordable.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opsnet.clip.scope import scope_of


class TinyTextTower(nn.Module):
    """Words -> embedding, with a small transformer and mean pooling over words.

    Args:
        output_dim: D.
        width: width of the transformer.
        cone: length of a fixed direction that is added to every embedding. A trained CLIP's text embeddings lie in a
            narrow cone; without it the tiny space is so spread out that the paper's alpha = 10 and beta = 0.5, which
            depend on 1 - s, over-correct. See docs/miniature.md for the choice of the length.
    """

    def __init__(
        self, output_dim: int, *, width: int = 64, layers: int = 2, heads: int = 4, context_length: int = 12,
        vocab_size: int = 49408, cone: float = 1.4,
    ) -> None:  # fmt: skip
        super().__init__()
        self.context_length, self.vocab_size = context_length, vocab_size
        # Random and frozen: of 49,408 tokens the world uses only forty words, and random directions in 64 dimensions
        # are distinct enough. Training them would cost as much memory traffic as the rest of the step.
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.token_embedding.requires_grad_(False)
        self.positional_embedding = nn.Parameter(torch.randn(context_length, width) * 0.1)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.ln_final = nn.LayerNorm(width)
        self.projection = nn.Linear(width, output_dim, bias=False)
        self.cone: Tensor
        self.register_buffer("cone", cone * F.normalize(torch.randn(output_dim), dim=0))

    def forward(self, text: Tensor) -> Tensor:
        """Token ids (B, L), 0 = padding -> embeddings (B, D), not normalised."""
        ends = text == text.amax(dim=1, keepdim=True)  # the end token has the highest id
        starts = torch.arange(text.shape[1], device=text.device) == 0
        words = (text != 0) & ~ends & ~starts
        x = self.token_embedding(text) + self.positional_embedding[: text.shape[1]]
        x = self.transformer(x, src_key_padding_mask=text == 0)
        x = self.ln_final(x) * words[..., None]
        x = self.projection(x.sum(1) / words.sum(1, keepdim=True).clamp(min=1))
        return F.normalize(x, dim=-1) + self.cone


def tiny_clip(
    *, embed_dim: int = 128, image_size: int = 32, width: int = 16, layers: tuple[int, int, int] = (1, 2, 1),
    heads: int = 8, text_width: int = 64, text_layers: int = 2, cone: float = 1.4, captions: str | None = None,
) -> nn.Module:  # fmt: skip
    """An untrained open_clip ``CustomTextCLIP``: stride 8, ``embed_dim`` dimensions.

    Args:
        embed_dim, image_size, width, layers, heads, text_width, text_layers, cone: sizes of its towers.
        captions: the packaged vocabulary of the captions that it is trained on, ``scenes_world`` for those of the
            synthetic world; ``None``: other ones, or unknown, as in checkpoints older than this argument. Its attribute
            ``scope`` tells what it can know (:mod:`opsnet.clip.scope`), which prediction compares images and names
            with; nothing is said where it is unknown.

    Raises:
        InputError: ``captions`` is another vocabulary.
    """
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP
    from open_clip.modified_resnet import AttentionPool2d

    vision = CLIPVisionCfg(layers=(*layers, 1), width=width, head_width=width, image_size=image_size)
    text = CLIPTextCfg(context_length=12, vocab_size=8, width=8, heads=1, layers=1)
    model = CustomTextCLIP(embed_dim, vision, text, init_logit_scale=torch.tensor(20.0).log().item())
    # Stride 8 for images of 32 pixels: the third stage keeps the resolution of the second, the fourth is removed.
    block = model.visual.layer3[0]
    block.avgpool, block.downsample[0] = nn.Identity(), nn.Identity()
    model.visual.layer4 = nn.Identity()
    model.visual.attnpool = AttentionPool2d(image_size // 8, width * 16, heads, embed_dim)
    model.visual.init_parameters()
    model.visual.to(memory_format=torch.channels_last)  # nearly twice as fast on a CPU
    model.text = TinyTextTower(embed_dim, width=text_width, layers=text_layers, cone=cone)
    model.context_length, model.vocab_size = model.text.context_length, model.text.vocab_size
    model.scope = scope_of(captions)
    return model
