"""Image files in the formats that people have, damaged, as prediction reads them."""

from __future__ import annotations

from pathlib import Path
from random import Random

from opsnet.prediction.images import to_pixels
from scripts.fuzz import seeds
from scripts.fuzz.cases import Case, Untrue
from scripts.fuzz.mutation import mutated_bytes, mutated_png

NAMES = ("image of ",)
FORMS = (
    ("PNG", "RGB"), ("PNG", "P"), ("PNG", "RGBA"), ("PNG", "I;16"), ("PNG", "1"), ("JPEG", "RGB"), ("JPEG", "CMYK"),
    ("WEBP", "RGB"), ("TIFF", "RGB"), ("TIFF", "F"), ("GIF", "P"), ("BMP", "RGB"), ("PPM", "RGB"), ("ICO", "RGB"),
    ("JPEG2000", "RGB"), ("TGA", "RGB"), ("PCX", "RGB"), ("DDS", "RGB"), ("SGI", "RGB"), ("AVIF", "RGB"),
)  # fmt: skip
SUFFIXES = ("png", "jpg", "tif", "webp")


def case(seed: int) -> Case:
    """An image with changed bytes, under a name that need not fit its format."""
    rng = Random(seed)
    form, mode = rng.choice(FORMS)
    data = _image(form, mode)
    data = mutated_png(rng, data) if form == "PNG" else mutated_bytes(rng, data)
    return Case({f"a.{rng.choice(SUFFIXES)}": data}, {"as_bytes": rng.random() < 0.2})


def _image(form: str, mode: str) -> bytes:
    try:
        return seeds.photo(form, mode)
    except (OSError, KeyError, ValueError):  # this Pillow has no encoder for it
        return seeds.photo()


def run(given: Case, folder: Path) -> None:
    """Reads the image.

    Raises:
        InputError: it cannot be read.
        Untrue: what was read is no RGB image.
    """
    given.write(folder)
    (name,) = given.files
    pixels = to_pixels(given.files[name] if given.arguments["as_bytes"] else folder / name)
    if pixels.dtype != "uint8" or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise Untrue(f"read as {pixels.shape} {pixels.dtype}")
