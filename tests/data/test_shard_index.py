"""The index of a shard against what webdataset reads from it, and shards that mean harm."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import time
from pathlib import Path

import pytest
import webdataset
from shard_writing import image_bytes, write_shards, write_tar

from opsnet.data.shard_index import ShardIndex, index_shard, split_name
from opsnet.data.shard_labels import LabelSource
from opsnet.utils.errors import DatasetError

CLS = LabelSource("cls")


def images_of(path: Path, index: ShardIndex) -> list[bytes]:
    content = path.read_bytes()
    return [content[int(b) * 512 :][: int(n)] for b, n in zip(index.blocks, index.sizes, strict=True)]


def labels_of(index: ShardIndex) -> list[object]:
    return [index.values[code][0] for code in index.codes]


def test_it_points_at_the_files_that_webdataset_reads(tmp_path: Path) -> None:
    (path,) = write_shards(tmp_path, [7])
    theirs = list(webdataset.WebDataset(str(path), shardshuffle=False))
    index = index_shard(path, CLS)
    assert images_of(path, index) == [sample["png"] for sample in theirs]
    assert labels_of(index) == [int(sample["cls"]) for sample in theirs] == [0, 1, 2, 0, 1, 2, 0]
    assert [key for _, key in index.values] == ["00000", "00001", "00002"]
    assert (len(index), index.samples, index.faults) == (7, 7, ())
    assert labels_of(index_shard(path, LabelSource("json.names")))[:2] == ["cat", "dog"]
    assert labels_of(index_shard(path, LabelSource("key")))[:2] == ["00000", "00001"]


@pytest.mark.parametrize(
    "name", ["a.jpg", "d/a.JPG", "d.e/a.seg.png", "./a.jpg", "a.b.c.cls", "/abs/a.jpg", "../up/a.jpg", "n01_2.jpg"]
)
def test_keys_are_those_of_webdataset(name: str) -> None:
    key, extension = webdataset.tariterators.base_plus_ext(name)
    assert split_name(name) == (key, extension.lower())


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_every_kind_of_tar(tmp_path: Path, kind: int) -> None:
    key = "/".join(["d" * 90] * 2)
    with tarfile.open(tmp_path / "a.tar", "w", format=kind) as tar:
        for name, content in ((f"{key}.png", image_bytes(1)), (f"{key}.cls", b"1\n")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    index = index_shard(tmp_path / "a.tar", CLS)
    assert images_of(tmp_path / "a.tar", index) == [image_bytes(1)]
    assert index.values == ((1, key),)


def test_unusable_samples_are_named_and_the_others_are_there(tmp_path: Path) -> None:
    files = [
        ("good.png", image_bytes(1)), ("good.cls", b"1"),
        ("no_label.png", image_bytes(2)),
        ("no_image.cls", b"1"),
        ("twice.png", image_bytes(3)), ("twice.png", image_bytes(4)), ("twice.cls", b"1"),
        ("empty.png", b""), ("empty.cls", b"1"),
        ("large.png", image_bytes(5)), ("large.cls", b"1" * (2**20 + 1)),
        ("bytes.png", image_bytes(6)), ("bytes.cls", b"\xff\xfe"),
        ("good.png", image_bytes(7)), ("good.cls", b"1"),
        ("readme.txt", b"no sample"),
        ("last.png", image_bytes(8)), ("last.cls", b" 2\n"),
    ]  # fmt: skip
    path = write_tar(tmp_path / "a.tar", files)
    index = index_shard(path, CLS)
    assert images_of(path, index) == [image_bytes(1), image_bytes(8)]
    assert labels_of(index) == [1, 2]
    assert index.samples == 9
    found = [fault.split(" (")[0] for fault in index.faults]
    assert found == [
        "no_label has no .cls", "no_image has no image", "twice has two .png",
        "empty has a .png of 0 bytes, not 1 to 536,870,912",
        "large has a .cls of 1,048,577 bytes, more than 1,048,576",
        "bytes has a .cls that cannot be read", "good is there twice",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"[1]", "has no 'label' in its .json, which has [1]"),
        (b'{"a": 1, "b": 2}', "has no 'label' in its .json, which has a, b"),
        (b'{"label": 1.5}', "has 1.5 as json.label, not a whole number, a name or a list of these"),
        (b'{"label": [true]}', "has [True] as json.label"),
        (b'{"label": {"x": 1}}', "has {'x': 1} as json.label"),
        (b'{"label": ', "has a .json that cannot be read"),
        (b"[" * 100_000, "has a .json that cannot be read"),
        (b'{"label": ' + b"9" * 5000 + b"}", "has a .json that cannot be read"),
        (b'{"label": "' + b"x" * 201 + b'"}', "not a whole number, a name"),
        (b'{"label": [' + b"1," * 1000 + b"1]}", "not a whole number, a name"),
    ],
)
def test_a_json_that_holds_no_label_is_a_fault(tmp_path: Path, content: bytes, fault: str) -> None:
    path = write_tar(tmp_path / "a.tar", [("a.png", image_bytes(1)), ("a.json", content)])
    index = index_shard(path, LabelSource("json.label"))
    assert len(index) == 0
    assert fault in index.faults[0]


class Trap:
    """Unpickled, it makes a folder."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(Trap.folder),)


def test_pickles_stay_bytes_and_links_and_paths_are_not_followed(tmp_path: Path) -> None:
    Trap.folder = tmp_path / "trapped"
    trap = pickle.dumps(Trap())
    secret = tmp_path / "secret.png"
    secret.write_bytes(image_bytes(9))
    link = {"type": tarfile.SYMTYPE, "linkname": str(secret)}
    hard = {"type": tarfile.LNKTYPE, "linkname": "a.png"}
    files = [
        ("a.png", image_bytes(1)), ("a.cls", b"0"), ("a.pyd", trap), ("a.pkl", trap), ("a.pickle", trap),
        ("b.png", b""), ("b.cls", b"1"), ("c.png", b""), ("c.cls", b"1"), ("d.fifo.png", b""),
        ("/abs/e.png", image_bytes(2)), ("/abs/e.cls", b"1"),
        ("../../f.png", image_bytes(3)), ("../../f.cls", b"2"), ("g.pyd", trap),
    ]  # fmt: skip
    path = write_tar(tmp_path / "s" / "a.tar", files, **{"b.png": link, "c.png": hard, "d.fifo.png": {"type": b"6"}})
    before = sorted(p.name for p in tmp_path.rglob("*"))
    index = index_shard(path, CLS)
    assert images_of(path, index) == [image_bytes(k) for k in (1, 2, 3)]
    assert index.faults == ("b has no image", "c has no image")
    assert sorted(p.name for p in tmp_path.rglob("*")) == before  # nothing was unpickled or unpacked
    with pytest.raises(FileExistsError), pytest.MonkeyPatch.context() as patch:  # the trap works
        patch.setattr(Trap, "folder", path.parent)
        pickle.loads(pickle.dumps(Trap()))


def header(name: str, size: bytes, kind: bytes = b"0") -> bytes:
    """A header with a size field of any 12 bytes."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    block[124:136], block[156:157], block[148:156] = size, kind, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def base_256(number: int) -> bytes:
    """A size as GNU writes those of more than 8 GB, and hostile ones below 0."""
    return (b"\x80" if number >= 0 else b"\xff") + number.to_bytes(11, "big", signed=True)


END = bytes(1024)
GOOD = (
    header("a.png", b"%011o\0" % 8)
    + b"12345678".ljust(512, b"\0")
    + header("a.cls", b"%011o\0" % 1)
    + b"1".ljust(512, b"\0")
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD, "is cut off or damaged at byte 2,048: it is damaged, download it again"),
        (GOOD[:-100], "unexpected end of data"),
        (GOOD[:600], "unexpected end of data"),
        (GOOD + b"x" * 512 + END, "is cut off or damaged at byte 2,048"),
        (GOOD + header("b.png", base_256(2**40)) + END, "unexpected end of data"),
        (GOOD + header("b.png", b"%011o\0" % (8**11 - 1)) + END, "unexpected end of data"),
        (GOOD + header("b.png", base_256(-1024)) + END, "has an entry of -1,024 bytes at byte"),
        (GOOD + header("b", base_256(2**33), b"L") + END, "has a header with a length of 8,589,934,592 bytes"),
        (GOOD + header("b", base_256(2**33), b"x") + END, "has a header with a length of 8,589,934,592 bytes"),
        (GOOD + header("b", base_256(-512), b"L") + END, "has a header with a length of -512 bytes"),
        (b"", "empty file"),
        (b"\x1f\x8b" + bytes(600), "cannot be read as an uncompressed tar"),
        (header("b", b"%011o\0" % 0, b"L") * 3000 + END, "cannot be read as an uncompressed tar"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else len(value),
)  # fmt: skip
def test_a_damaged_or_hostile_tar_is_refused_at_once(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(content)
    start = time.monotonic()
    with pytest.raises(DatasetError, match=r"shard .*a\.tar ") as caught:
        index_shard(path, CLS)
    assert message in str(caught.value)
    assert time.monotonic() - start < 20


def test_a_whole_tar_of_the_same_parts_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(GOOD + END)
    assert images_of(path, index_shard(path, CLS)) == [b"12345678"]


def test_another_source_of_labels_is_refused() -> None:
    for text in ("txt", "json", "json.", ""):
        with pytest.raises(DatasetError, match=f"label '{text}' is neither cls, key nor json.FIELD"):
            LabelSource(text)
