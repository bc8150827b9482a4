"""Uploads: only images below the upload folder are read; outputs of all visitors share a limit in bytes."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from opsnet.inference.network_output import NetworkOutput
from opsnet.structures import Proposals
from opsnet.utils.errors import InputError
from opsnet.web_demo import uploads
from opsnet.web_demo.uploads import ProcessedImage, ProcessedImages, checked_upload, read_upload


def png_header(path: Path, width: int, height: int) -> Path:
    """A PNG with a header for width x height pixels, but no pixels."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT")
    written = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(written))
    return path


@pytest.mark.parametrize(("width", "height", "size"), [(10_000, 6_000, "60 megapixels"), (5_001, 5_000, "25")])
def test_a_large_image_is_refused_by_its_header(width, height, size, tmp_path) -> None:
    path = png_header(tmp_path / "large.png", width, height)
    with pytest.raises(InputError, match=rf"large\.png has {size}.* more than the 25 that this page accepts"):
        read_upload(str(path))


def test_a_bomb_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="cannot be read as an image"):
        read_upload(str(png_header(tmp_path / "bomb.png", 60_000, 60_000)))


def test_what_is_no_image(tmp_path) -> None:
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match=r"text\.png cannot be read as an image: give a PNG, JPEG or WebP file"):
        read_upload(str(tmp_path / "text.png"))
    with pytest.raises(InputError, match=r"a\.png cannot be read"):
        read_upload(str(png_header(tmp_path / "a.png", 30, 30)))
    with pytest.raises(InputError, match="there is no image"):
        read_upload(None)


@pytest.mark.parametrize(
    ("kind", "works"),
    [
        ("PNG", True),
        ("JPEG", True),
        ("WEBP", True),
        ("GIF", True),
        ("MPO", True),
        ("BMP", True),
        ("TIFF", False),
        ("EPS", False),
        ("ICNS", False),
        ("PPM", False),
    ],
)
def test_only_formats_of_the_web_are_read(kind, works, tmp_path) -> None:
    Image.new("RGB", (16, 16), (9, 9, 9)).save(tmp_path / "a.png", kind)
    if works:
        assert read_upload(str(tmp_path / "a.png")).shape == (16, 16, 3)
    else:
        with pytest.raises(InputError, match="give a PNG, JPEG or WebP file"):
            read_upload(str(tmp_path / "a.png"))


# --- paths ------------------------------------------------------------------------------------------------------------


def test_only_files_below_the_folder_are_uploads(tmp_path) -> None:
    folder = tmp_path / "uploads"
    (folder / "hash").mkdir(parents=True)
    (folder / "hash" / "a.png").write_bytes(b"a")
    (tmp_path / "secret.png").write_bytes(b"s")
    os.mkfifo(folder / "pipe.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    assert checked_upload(str(folder / "hash" / "a.png"), folder) == str(folder / "hash" / "a.png")
    assert checked_upload(None, folder) is None
    (folder / "circle.png").symlink_to(folder / "circle.png")
    outside = ["../secret.png", "pipe.png", "link.png", "none.png", "hash", "", "a\0b", "circle.png", "x" * 5000]
    for path in [str(tmp_path / "secret.png"), *(str(folder / name) for name in outside)]:
        with pytest.raises(InputError, match="the image is not on the server"):
            checked_upload(path, folder)


# --- memory -----------------------------------------------------------------------------------------------------------


def processed(path: str, kilobytes: int) -> ProcessedImage:
    """An image and an output of this size."""
    half = kilobytes * 512
    masks = torch.zeros(1, 1, 1, half // 4)
    proposals = Proposals(masks, torch.zeros(1, 1, 0), torch.zeros(1, 0))
    output = NetworkOutput(proposals, {}, (1, 1), ((1, 1),), ((1, 1),), (0,))
    return ProcessedImage(path, np.zeros(half, np.uint8), output)


def test_all_images_together_stay_below_the_limit() -> None:
    images = ProcessedImages(limit=10 * 1024)
    for name in "abc":
        images.put(("model", name), processed(name, 4))
        assert images.nbytes <= 10 * 1024
    assert images.get(("model", "a")) is None  # the oldest
    assert images.get(("model", "b")) is not None
    images.put(("model", "b"), processed("b", 4))  # used again
    images.put(("model", "d"), processed("d", 4))
    assert [images.get(("model", name)) is None for name in "bcd"] == [False, True, False]
    images.put(("model", "huge"), processed("huge", 11))
    assert images.nbytes == 0
    assert images.get(("other model", "d")) is None


def test_an_image_is_dropped_after_an_hour(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(uploads.time, "monotonic", lambda: now[0])
    images = ProcessedImages()
    images.put(("model", "a"), processed("a", 1))
    now[0] = 3590.0
    assert images.get(("model", "a")) is not None
    now[0] = 3610.0
    assert images.get(("model", "a")) is None
    assert images.nbytes == 0


def test_a_network_output_is_counted_in_full(predictor) -> None:
    pixels = np.zeros((64, 96, 3), np.uint8)
    output = predictor.propose(pixels)
    masks = output.proposals.mask_logits
    assert ProcessedImage("a", pixels, output).nbytes >= pixels.nbytes + masks.nbytes + output.clip["pooling"].nbytes
