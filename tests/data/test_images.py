"""Images of every kind, as a person sees them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opsnet.data.images import decode_rgb, read_rgb, to_rgb
from opsnet.utils.errors import DatasetError

COLOURS = np.array([[[255, 0, 0], [0, 128, 0]], [[0, 0, 255], [90, 90, 90]], [[0, 0, 0], [255, 255, 255]]], np.uint8)


@pytest.mark.parametrize(
    ("mode", "suffix"), [("RGB", "png"), ("P", "png"), ("RGBA", "png"), ("RGB", "bmp"), ("P", "gif")]
)
def test_colours_stay(mode: str, suffix: str, tmp_path: Path) -> None:
    Image.fromarray(COLOURS).convert(mode, palette=Image.Palette.ADAPTIVE).save(tmp_path / f"a.{suffix}")
    with Image.open(tmp_path / f"a.{suffix}") as image:
        assert np.array_equal(to_rgb(image), COLOURS)


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_has_three_channels(mode: str) -> None:
    grey = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert(mode)
    assert to_rgb(grey).tolist() == [[[0] * 3, [255] * 3], [[255] * 3, [0] * 3]]


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257 * 100, 65_535]], np.uint16)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert to_rgb(image)[0, :, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_inks_become_light(suffix: str, tmp_path: Path) -> None:
    blocks = np.kron(COLOURS, np.ones((16, 16, 1), np.uint8))
    Image.fromarray(blocks).convert("CMYK").save(
        tmp_path / f"a.{suffix}", **({"quality": 95} if suffix == "jpg" else {})
    )
    with Image.open(tmp_path / f"a.{suffix}") as image:
        assert image.mode == "CMYK"
        assert np.abs(to_rgb(image)[8::16, 8::16].astype(int) - COLOURS).max() < 12


def test_rotated_images_stand_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: to be shown turned by 90 degrees clockwise
    Image.fromarray(np.rot90(COLOURS).copy()).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(to_rgb(image), COLOURS)


def test_what_is_transparent_is_white() -> None:
    half = Image.fromarray(np.array([[[255, 0, 0, 255], [9, 9, 9, 0], [0, 0, 0, 128]]], np.uint8))
    assert to_rgb(half).tolist() == [[[255, 0, 0], [255, 255, 255], [127, 127, 127]]]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), mode="L").convert("P")
    palette.info["transparency"] = 1
    assert to_rgb(palette)[0, 1].tolist() == [255, 255, 255]


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header claims a size; its pixels are missing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_an_image_beyond_the_limit_is_refused_by_its_header(tmp_path: Path) -> None:
    """A file of less than 100 bytes would need 12 GB."""
    path = tmp_path / "huge.png"
    path.write_bytes(png_of(60_000, 70_000))
    for read in (lambda: read_rgb(path), lambda: decode_rgb(path.read_bytes(), "huge.png")):
        with pytest.raises(DatasetError, match=r"huge\.png has more than the 178 million pixels that are read: make"):
            read()
