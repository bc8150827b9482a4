"""The PNG of ids: one map, however its colours are stored; what is no colour is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opsnet.data import panoptic_png
from opsnet.data.panoptic_png import PngModeError, ids_to_rgb, read_ids, rgb_to_ids, write_ids
from opsnet.utils.errors import DatasetError

IDS = np.array([[0, 255, 256], [65535, 65536, 256**3 - 1]])


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_ids(tmp_path / "new" / "a.png", IDS)
    got = read_ids(tmp_path / "new" / "a.png")
    assert (got.dtype, got.tolist()) == (np.int32, IDS.tolist())


def test_ids_become_colours() -> None:
    ids = np.array([[0, 255], [256, 3 + 2 * 256 + 65536]])
    assert ids_to_rgb(ids).tolist() == [[[0, 0, 0], [255, 0, 0]], [[0, 1, 0], [3, 2, 1]]]
    with pytest.raises(ValueError, match="segment ids must lie in 0..16777215, got 0 to 16777216"):
        ids_to_rgb(np.array([[0, 256**3]]))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (31, 17)])
def test_colours_become_ids_as_by_the_formula(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    red, green, blue = np.moveaxis(pixels.astype(np.int64), -1, 0)
    assert np.array_equal(rgb_to_ids(pixels), red + 256 * green + 65536 * blue)
    apart = np.concatenate([pixels, pixels[..., :1]], axis=-1)[..., :3]  # as cut from RGBA, not contiguous
    assert np.array_equal(rgb_to_ids(apart), rgb_to_ids(pixels))


def blocks(height: int, width: int) -> np.ndarray:
    """Ids of regions with borders in all directions, so that a PNG uses all its filters."""
    y, x = np.mgrid[:height, :width]
    return ((x + y) // 9 * 70_001 + (x - y) // 13 * 257 + y // 11) % 256**3


@pytest.mark.parametrize("size", [(1, 1), (48, 64), (37, 101)])
@pytest.mark.parametrize("options", [{}, {"compress_level": 0}, {"transparency": (1, 2, 3)}], ids=str)
def test_kornia_reads_what_pillow_reads(size, options, tmp_path: Path) -> None:
    ids = blocks(*size)
    Image.fromarray(ids_to_rgb(ids)).save(tmp_path / "a.png", **options)
    pixels = panoptic_png._read_plain_rgb(tmp_path / "a.png")
    assert pixels is not None, "left to Pillow: is kornia-rs installed?"
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(pixels, np.asarray(image.convert("RGB")))
    assert np.array_equal(read_ids(tmp_path / "a.png"), ids)


@pytest.mark.parametrize("cut", [8, 20, 33, 60, -30])
def test_pillow_judges_what_kornia_cannot_read(cut: int, tmp_path: Path) -> None:
    write_ids(tmp_path / "a.png", blocks(48, 64))
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:cut])
    assert panoptic_png._read_plain_rgb(tmp_path / "a.png") is None
    with pytest.raises(DatasetError, match=r"a\.png cannot be read as an image"):
        read_ids(tmp_path / "a.png")


def test_without_kornia_pillow_reads_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panoptic_png, "decode_image_png_u8", None)
    write_ids(tmp_path / "a.png", blocks(48, 64))
    assert np.array_equal(read_ids(tmp_path / "a.png"), blocks(48, 64))


def palette(image: Image.Image) -> Image.Image:
    return image.convert("P", palette=Image.Palette.ADAPTIVE)


def see_through(image: Image.Image) -> Image.Image:
    image.putalpha(7)
    return image


@pytest.mark.parametrize("store", [palette, see_through])
def test_the_same_ids_in_other_modes(store, tmp_path: Path) -> None:
    stored = store(Image.fromarray(ids_to_rgb(IDS)))
    stored.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == stored.mode != "RGB"
    assert read_ids(tmp_path / "a.png").tolist() == IDS.tolist()


def test_a_palette_with_transparent_colours(tmp_path: Path) -> None:
    palette(Image.fromarray(ids_to_rgb(IDS))).save(tmp_path / "a.png", transparency=b"\x00\x01\x02")
    assert read_ids(tmp_path / "a.png").tolist() == IDS.tolist()


@pytest.mark.parametrize(("kind", "mode"), [(np.uint8, "L"), (np.uint16, "I;16"), (bool, "1")])
def test_what_has_no_three_colours(kind: type, mode: str, tmp_path: Path) -> None:
    Image.fromarray(np.ones((2, 3), kind)).save(tmp_path / "a.png")
    with pytest.raises(PngModeError, match=rf"a\.png has mode {mode}: save segment ids as an RGB PNG"):
        read_ids(tmp_path / "a.png")


def test_files_that_are_missing_or_broken(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"a\.png does not exist: check file_name"):
        read_ids(tmp_path / "a.png")
    write_ids(tmp_path / "b.png", IDS)
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:-30])
    with pytest.raises(DatasetError, match=r"b\.png cannot be read as an image .*: replace the file"):
        read_ids(tmp_path / "b.png")


FAILING = Path(__file__).parents[3] / "shared" / "data" / "failing" / "images"


@pytest.mark.skipif(not FAILING.is_dir(), reason=f"images that broke Pillow's readers are not at {FAILING}")
@pytest.mark.parametrize("name", ["index_error.png", "runtime_error.png", "not_implemented.png"])
def test_whatever_a_reader_raises_is_one_sentence(name: str) -> None:
    with pytest.raises(DatasetError, match=f"{name} cannot be read as an image"):
        read_ids(FAILING / name)
