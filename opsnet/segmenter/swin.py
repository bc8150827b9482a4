"""timm's Swin at any image size, as the detection networks have it.

At ImageNet's image sizes timm's blocks equal the published ones. At others they pad after the shift, while Swin's
detection code (and therefore every Mask2Former with a Swin) pads before it, and they do not shift maps as small as a
window. The networks therefore differ if a side is not a multiple of the window.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.layers.patch_embed import PatchEmbed
from timm.models.swin_transformer import SwinTransformerBlock, window_partition, window_reverse
from torch import Tensor, nn

# Full-size windows and shifts on the smallest map too.
ANY_SIZE: dict[str, Any] = {"strict_img_size": False, "always_partition": True}


def is_swin(name: str) -> bool:
    """Whether a timm model is a Swin (the first version)."""
    import timm

    return str(timm.model_entrypoint(name).__module__).endswith(".swin_transformer")


def take_any_size(model: nn.Module) -> None:
    """Modifies in place a timm Swin created with :data:`ANY_SIZE`."""
    for module in model.modules():
        if isinstance(module, SwinTransformerBlock):
            module.__class__ = _AnySizeBlock
        elif isinstance(module, PatchEmbed):
            cast(Any, module).dynamic_img_pad = True


class _AnySizeBlock(SwinTransformerBlock):
    """A block that first pads its map to whole windows and then shifts it."""

    def _attn(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        down, across = self.window_size
        x = F.pad(x, (0, 0, 0, -width % across, 0, -height % down))
        shift = tuple(self.shift_size)
        shifted = torch.roll(x, (-shift[0], -shift[1]), dims=(1, 2)) if any(shift) else x
        windows = window_partition(shifted, self.window_size).flatten(1, 2)
        attended = self.attn(windows, mask=self.get_attn_mask(shifted))
        attended = attended.unflatten(1, tuple(self.window_size))
        back = window_reverse(attended, self.window_size, x.shape[1], x.shape[2])
        back = torch.roll(back, shift, dims=(1, 2)) if any(shift) else back
        return back[:, :height, :width].contiguous()
