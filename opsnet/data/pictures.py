"""Picture files of any kind as RGB, the way that a person sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


def to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """A picture as (H, W, 3), upright.

    Cameras store rotation as a tag, while annotations are drawn on the upright picture. Grey of 16 bits is scaled,
    where Pillow would cut it off at 255; what is transparent shows white, and not the colour that lies below.
    """
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I"):
        upright = Image.fromarray((np.asarray(upright).clip(0, 65_535) // 257).astype(np.uint8))
    if upright.has_transparency_data:
        see_through = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", see_through.size, "white"), see_through)
    return np.array(upright.convert("RGB"))
