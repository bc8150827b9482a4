"""scripts/documentation: the images of README.md and the figure of docs/recognizers.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from documented import ROOT
from PIL import Image

from scripts.documentation import recognizers, strip


def test_the_shares_are_the_papers() -> None:
    """E_q + alpha (1 - s) E_c: at s = 0.9 and alpha = 10 both have one half, at s = 1 the query has all."""
    full = recognizers.RECOGNIZERS["full, alpha = 10"]
    assert recognizers.clip_share(full, 0.9) == pytest.approx(0.5, abs=1e-5)
    assert recognizers.clip_share(full, 1.0) == 0
    assert recognizers.clip_share(recognizers.RECOGNIZERS["ensemble_4"], 0.75) == pytest.approx(0.8)
    assert recognizers.clip_share(recognizers.RECOGNIZERS["clip_only"], 0.75) == 1
    assert recognizers.debiasing_factor(0.5, 0.64) == pytest.approx(1 / 0.8)


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    recognizers.main(["--out", str(tmp_path / "figure.png")])
    assert len(np.unique(np.asarray(Image.open(tmp_path / "figure.png").convert("RGB")).reshape(-1, 3), axis=0)) > 50


def test_the_strip_is_image_names_overlay(world, lenient_checkpoint: Path, tmp_path: Path) -> None:
    image = next((world.data / "scenes_0" / "scenes_novel" / "test").glob("*.png"))
    strip.main([str(lenient_checkpoint), str(image), "red circle, sea", "--out", str(tmp_path / "strip.png")])
    drawn = np.asarray(Image.open(tmp_path / "strip.png").convert("RGB"))
    assert drawn.shape == (strip.SIDE, 3 * strip.SIDE + 2 * strip.MARGIN, 3)
    middle = drawn[:, strip.SIDE + strip.MARGIN : 2 * strip.SIDE + strip.MARGIN]
    assert 0 < (middle.mean(-1) < 128).mean() < 0.1  # dark text on white
    assert (drawn[:, : strip.SIDE] != drawn[:, -strip.SIDE :]).any()
    strip.main([str(lenient_checkpoint), str(image), "sea", "--overlay-only", "--out", str(tmp_path / "overlay.png")])
    assert Image.open(tmp_path / "overlay.png").size == (strip.SIDE, strip.SIDE)


@pytest.mark.parametrize("name", ["strip", "first_prediction", "recognizers"])
def test_the_committed_images_are_small(name: str) -> None:
    assert (ROOT / "docs" / "figures" / f"{name}.png").stat().st_size < 120_000
