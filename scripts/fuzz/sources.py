"""Where images come from: files, folders and patterns with any names."""

from __future__ import annotations

from pathlib import Path
from random import Random

from opsnet.prediction.image_ids import image_files
from opsnet.prediction.sources import image_source
from opsnet.utils.errors import InputError
from scripts.fuzz import seeds
from scripts.fuzz.cases import Case, Untrue

NAMES = ("image",)
NAMED = (
    "a.png",
    "b[1].png",
    "*.png",
    "0007.png",
    "7.png",
    " .png",
    "é.png",
    "a\nb.png",
    "-x.png",
    "=1.png",
    "sub/c.png",
)
TEXTS = (
    "", " ", ".", "*", "**", "*.png", "?.png", "[ab].png", "[", "[]", "[!]", "**/*.png", "a.png", "b[1].png", "sub",
    "nope",
    "a.png/", "a\0b", "a" * 300, "\ud800", "~nobody/x", "http://", "https:/", "http://[", "file:///etc/hosts",
    "a.png\n",
)  # fmt: skip


def case(seed: int) -> Case:
    """Some images, and a text that may name them."""
    rng = Random(seed)
    files = {name: seeds.photo() for name in NAMED if rng.random() < 0.5}
    if rng.random() < 0.1:
        files["v.mp4"] = rng.randbytes(200)
    text = rng.choice([*TEXTS, *files]) + rng.choice(["", "", "", *TEXTS])
    if text.startswith(("http:", "https:")) and not text.endswith("["):
        text = "http://["  # others are asked for, as they should be
    if text.startswith(".."):
        text = "."  # whoever gives the folder above gets the images of the folder above
    return Case(files, {"text": text})


def run(given: Case, folder: Path) -> None:
    """Reads all images; those that cannot be read are skipped, as by the command.

    Raises:
        InputError: nothing can be read.
        Untrue: two images get one id.
    """
    given.write(folder)
    text = given.arguments["text"]
    is_address = text.startswith(("http:", "https:"))
    source = image_source(text if is_address or not text.strip() else f"{folder}/{text}")
    skipped: list[InputError] = []
    count = sum(1 for _ in source.readable(skipped.append))
    files = image_files(source.paths)
    if len({image.id for image in files.of.values()}) < len(files.of):
        raise Untrue("two images have one id")
    if not count and skipped:
        raise skipped[0]
