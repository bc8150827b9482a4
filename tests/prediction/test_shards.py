"""Images in tar files: what is read of them, and what a tar cannot make a reader do."""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opsnet.prediction import shards
from opsnet.prediction.sources import image_source
from opsnet.utils.errors import InputError


def png(grey: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), grey, np.uint8)).save(file, "PNG")
    return file.getvalue()


def write(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def read(text: object) -> list[tuple[str, int]]:
    return [(image.file_name, int(image.pixels[0, 0, 0])) for image in image_source(text).readable(lambda error: None)]


def test_the_images_of_a_shard_in_their_order(tmp_path) -> None:
    long = "n" * 150 + ".png"  # needs a header of its own
    members = {"b.png": png(1), "b.cls": b"7", "a.PNG": png(2), "b.json": b"{}", long: png(3)}
    source = image_source(write(tmp_path / "s.tar", members))
    assert (source.count, source.is_stream) == (3, True)
    assert read(tmp_path / "s.tar") == [("b.png", 1), ("a.PNG", 2), (long, 3)]
    assert source.paths[0] == tmp_path / "s.tar" / "b.png"
    stamp = source.stamp(1)
    assert stamp is not None and stamp[0] == (tmp_path / "s.tar").stat().st_size


def test_a_pattern_of_shards(tmp_path) -> None:
    for number in (1, 0):
        write(tmp_path / f"s-{number}.tar", {"a.png": png(10 * number), f"{number}.png": png(10 * number + 1)})
    assert read(f"{tmp_path}/s-*.tar") == [("a.png", 0), ("0.png", 1), ("a.png", 10), ("1.png", 11)]


def test_a_damaged_image_is_one_of_the_skipped(tmp_path) -> None:
    path = write(tmp_path / "s.tar", {"a.png": b"no image", "b.png": png(5)})
    skipped: list[InputError] = []
    assert [image.file_name for image in image_source(path).readable(skipped.append)] == ["b.png"]
    assert f"image a.png of {path} cannot be read as an image" in str(skipped[0])


def test_only_regular_members_are_read_and_names_lead_nowhere(tmp_path) -> None:
    (tmp_path / "secret.png").write_bytes(png(99))
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo(f"{kind!r}.png")
            info.type, info.linkname = kind, str(tmp_path / "secret.png")
            tar.addfile(info)
        for name in ("../secret.png", "/etc/x.png", "a/../../y.png"):
            info = tarfile.TarInfo(name)
            info.size = len(png(1))
            tar.addfile(info, io.BytesIO(png(1)))
    found = image_source(tmp_path / "s.tar")
    assert [p.relative_to(tmp_path / "s.tar").as_posix() for p in found.paths] == ["secret.png", "etc/x.png", "a/y.png"]
    assert [value for _, value in read(tmp_path / "s.tar")] == [1, 1, 1]
    assert {p.name for p in tmp_path.iterdir()} == {"secret.png", "s.tar"}


def test_an_image_that_is_too_large_is_not_read(tmp_path, monkeypatch) -> None:
    path = write(tmp_path / "s.tar", {"a.png": png(1), "b.png": b"x" * 2000})
    monkeypatch.setattr(shards, "LARGEST", 1000)
    skipped: list[InputError] = []
    assert len(list(image_source(path).readable(skipped.append))) == 1
    assert "image b.png of" in str(skipped[0]) and "is larger than" in str(skipped[0])


def test_tars_that_cannot_be_used(tmp_path) -> None:
    for name, members, message in (
        ("none", {"a.txt": b"x"}, r"none\.tar has no images \(\.png, "),
        ("twice", {"a.png": png(1), "./a.png": png(2)}, r"twice\.tar has a\.png twice: leave one out"),
    ):
        with pytest.raises(InputError, match=message):
            image_source(write(tmp_path / f"{name}.tar", members))
    whole = write(tmp_path / "whole.tar", {f"{i}.png": png(i) for i in range(9)}).read_bytes()
    for name, content, message in (
        ("cut", whole[:1300], "is cut off or damaged at byte 1,024: replace it"),
        ("text", b"no tar at all" * 100, r"cannot be read as a tar without compression \("),
        ("gz", b"\x1f\x8b" + whole, r"cannot be read as a tar without compression \("),
    ):
        (tmp_path / f"{name}.tar").write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}\.tar {message}"):
            image_source(tmp_path / f"{name}.tar")


def test_a_size_below_0_ends_the_reading(tmp_path) -> None:
    """Python before 3.11.14 goes back in the file and reads the same member for ever (CVE-2025-8194)."""
    content = bytearray(write(tmp_path / "s.tar", {"a.png": png(1)}).read_bytes())
    content[124:136] = b"\xff" * 4 + struct.pack(">q", -1024)  # base 256, two's complement
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    (tmp_path / "s.tar").write_bytes(content)
    with pytest.raises(InputError, match=r"s\.tar has an entry of -1,024 bytes at byte 0: replace it"):
        image_source(tmp_path / "s.tar")


def test_a_header_of_gigabytes_is_not_read(tmp_path) -> None:
    """tarfile would read the whole of a long name, whatever its length."""
    content = bytearray(write(tmp_path / "s.tar", {"a.png": png(1)}).read_bytes())
    content[124:136], content[156:157] = b"\x80" + bytes(3) + struct.pack(">q", 2**33), b"L"
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    (tmp_path / "s.tar").write_bytes(content)
    with pytest.raises(InputError, match=r"s\.tar has a header with a length of 8,589,934,592 bytes"):
        image_source(tmp_path / "s.tar")
