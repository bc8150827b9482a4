"""The images of README.md: a drawn scene, the class names that are asked for, and the overlay of the prediction.

Usage: python -m scripts.documentation.strip CHECKPOINT IMAGE "blue waves, yellow dots, ..." [--out strip.png]
       [--overlay-only]

README.md's are made with the checkpoint of `make run` with seed 0, from 000050.png and, the overlay alone, from
000022.png of data/scenes_0/scenes_novel/test.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import opsnet
from opsnet.utils.errors import exit_on_user_error
from opsnet.utils.files import atomic_path
from opsnet.visualization.overlays import draw_overlay, font

SIDE = 288
"""Pixels of each square cell."""

MARGIN = 8
"""Pixels between cells."""

COLOURS = 256
"""Size of the palette: a fraction of the bytes of true colour, and drawn scenes lose nothing that can be seen."""


def main(words: Sequence[str] | None = None) -> None:
    """Draws the images and prints the path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="last.ckpt of a training on scenes")
    parser.add_argument("image", type=Path)
    parser.add_argument("vocabulary", help="class names, separated by commas")
    parser.add_argument("--out", type=Path, default=Path("strip.png"), help="PNG to write, strip.png by default")
    parser.add_argument("--overlay-only", action="store_true", help="without the image and the names")
    options = parser.parse_args(words)
    with exit_on_user_error():
        cells = draw_cells(options.checkpoint, options.image, options.vocabulary)
        print(f"Written: {save_side_by_side(cells[-1:] if options.overlay_only else cells, options.out)}")


def draw_cells(checkpoint: str, path: Path, vocabulary: str) -> list[Image.Image]:
    """The three square cells: image, class names, overlay."""
    found = opsnet.load(checkpoint)(path, vocabulary)
    image = Image.open(path).convert("RGB")
    overlay = Image.fromarray(draw_overlay(np.asarray(image), found, found.vocabulary.names))
    shown = [cell.resize((SIDE, SIDE), Image.Resampling.LANCZOS) for cell in (image, overlay)]
    return [shown[0], name_list([name.strip() for name in vocabulary.split(",")]), shown[1]]


def name_list(names: Sequence[str]) -> Image.Image:
    """The class names on white, one below the other, in the middle of a cell."""
    cell = Image.new("RGB", (SIDE, SIDE), "white")
    points = min(18, int(0.6 * SIDE / max(len(names), 1)))
    ImageDraw.Draw(cell).multiline_text(
        (SIDE / 2, SIDE / 2), "\n".join(names), fill="black", font=font(points), anchor="mm", align="center",
        spacing=points // 2,
    )  # fmt: skip
    return cell


def save_side_by_side(cells: Sequence[Image.Image], out: Path) -> Path:
    """Writes cells in a row as a PNG with a palette."""
    row = Image.new("RGB", (len(cells) * (SIDE + MARGIN) - MARGIN, SIDE), "white")
    for number, cell in enumerate(cells):
        row.paste(cell, (number * (SIDE + MARGIN), 0))
    with atomic_path(out) as temporary:
        row.quantize(COLOURS).save(temporary, "png", optimize=True)
    return out


if __name__ == "__main__":
    main()
