"""The screenshots of docs/demo.md, on a hardly trained checkpoint."""

from __future__ import annotations

import pytest
from PIL import Image

from opsnet.utils.errors import InputError
from scripts.web_demo import screenshots
from scripts.web_demo.screenshots import SIZES, main, save, take_screenshots
from scripts.web_demo.visitor import CHROMIUM, DRIVER, MISSING


@pytest.mark.slow
@pytest.mark.skipif(None in (CHROMIUM, DRIVER), reason=MISSING)
def test_the_whole_page_at_both_widths(lenient_checkpoint, tmp_path, capsys) -> None:
    main(["--out", str(tmp_path), f"checkpoint={lenient_checkpoint}", "device=cpu", "threshold=0"])
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in SIZES]
    for name, (width, height) in SIZES.items():
        with Image.open(tmp_path / name) as image:
            assert image.width == width
            assert image.height > height
            assert len(image.getcolors(256)) > 50  # a result is in it


def test_a_missing_browser_is_one_sentence(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(screenshots, "CHROMIUM", None)
    with pytest.raises(InputError, match="no chromium: apt-get install chromium chromium-driver"):
        take_screenshots(tmp_path, [])


def test_a_png_has_a_palette(tmp_path) -> None:
    path = save(Image.linear_gradient("L").convert("RGB"), tmp_path / "new" / "a.png")
    with Image.open(path) as image:
        assert image.mode == "P" and image.size == (256, 256)
