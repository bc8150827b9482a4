"""Screenshots of the web page at a wide and at a narrow screen, for docs/demo.md.

Usage: python -m scripts.web_demo.screenshots [--out docs/figures] [KEY=VALUE ...]

KEY=VALUE are overrides of conf/demo.yaml, e.g. checkpoint=last.ckpt; by default, the page opens with the newest run
under runs/. It chooses the first example, which the page then segments.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from opsnet.utils.errors import InputError, exit_on_user_error
from opsnet.utils.files import atomic_path
from scripts.web_demo.visitor import CHROMIUM, DRIVER, MISSING, served, visiting

SIZES = {"demo_wide.png": (1366, 900), "demo_narrow.png": (390, 844)}
"""File -> width and height of the window in pixels."""


def main(words: Sequence[str] | None = None) -> None:
    """Writes the screenshots and prints their paths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"), help="folder, docs/figures by default")
    parser.add_argument("overrides", nargs="*", help="overrides of conf/demo.yaml")
    options = parser.parse_args(words)
    with exit_on_user_error():
        for path in take_screenshots(options.out, options.overrides):
            print(path)


def take_screenshots(out: Path, overrides: Sequence[str]) -> list[Path]:
    """Writes one PNG per entry of :data:`SIZES`, of the whole page with a result.

    Args:
        out: folder.
        overrides: of conf/demo.yaml.

    Raises:
        InputError: Chromium or its driver are not installed, the page has no examples, or its command ends.
    """
    if None in (CHROMIUM, DRIVER):
        raise InputError(MISSING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        overrides = [*overrides, f"hydra.run.dir={folder / 'run'}"]
        with served(folder, *overrides) as address, visiting(address, folder, list(SIZES.values())) as visitors:
            for visitor in visitors:
                if not visitor.all("#examples button"):
                    raise InputError("the page has no examples for this model: give examples=FOLDER")
                visitor.choose_example(0)
                visitor.run("document.activeElement.blur(); window.scrollTo(0, 0)")
            shots = [visitor.screenshot() for visitor in visitors]
    return [save(shot, out / file) for shot, file in zip(shots, SIZES, strict=True)]


def save(image: Image.Image, path: Path) -> Path:
    """Writes a PNG with a palette, a third of the size of one without."""
    small = image.quantize(256, Image.Quantize.MEDIANCUT, kmeans=5, dither=Image.Dither.NONE)
    with atomic_path(path) as temporary:
        small.save(temporary, format="PNG", optimize=True)
    return path


if __name__ == "__main__":
    main()
