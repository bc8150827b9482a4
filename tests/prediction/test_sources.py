"""Images from memory, files, addresses, folders, patterns and videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opsnet.prediction.batches import in_batches
from opsnet.prediction.images import NetworkSize, SourceImage
from opsnet.prediction.sources import as_list, image_source
from opsnet.utils.errors import InputError

PIXELS = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three images, a text file named .png between them, and a note."""
    path = tmp_path / "images"
    path.mkdir()
    for name in ("a.png", "c.jpg", "d.png"):
        Image.fromarray(PIXELS).save(path / name)
    (path / "b.png").write_text("not an image")
    (path / "note.txt").write_text("not the name of an image")
    return path


def names(text: object) -> list[str]:
    return [image.file_name for image in image_source(text).readable(lambda error: None)]


def test_one_or_several() -> None:
    assert as_list(PIXELS) == ([PIXELS], True)
    assert len(as_list(np.stack([PIXELS, PIXELS]))[0]) == 2
    assert as_list(["a.png", "b.png"]) == (["a.png", "b.png"], False)


def test_which_files_are_selected(folder, tmp_path) -> None:
    skipped: list[InputError] = []
    source = image_source(folder)
    assert (source.count, source.is_stream, source.is_one) == (4, True, False)
    assert [image.file_name for image in source.readable(skipped.append)] == ["a.png", "c.jpg", "d.png"]
    assert len(skipped) == 1 and "b.png cannot be read as an image" in str(skipped[0])
    assert names(f"{folder}/*.png") == ["a.png", "d.png"]
    assert names(f"{tmp_path}/**/[cd].*") == ["c.jpg", "d.png"]
    (tmp_path / "odd [1].png").write_bytes((folder / "a.png").read_bytes())
    assert names(str(tmp_path / "odd [1].png")) == ["odd [1].png"]
    with pytest.raises(InputError, match=r"nowhere\.png does not exist"):
        image_source("nowhere.png").read()


def test_sources_without_images_are_refused_at_once(folder, tmp_path) -> None:
    with pytest.raises(InputError, match=r"/\*\.gif matches no file: check the pattern"):
        image_source(f"{folder}/*.gif")
    (tmp_path / "empty").mkdir()
    (tmp_path / "nested" / "a" / "b").mkdir(parents=True)
    (tmp_path / "nested" / "a" / "notes.txt").touch()
    with pytest.raises(InputError, match=r"nested has no images \(.*\): give another$"):
        image_source(tmp_path / "nested")
    (tmp_path / "nested" / "a" / "b" / "p.JPG").touch()
    with pytest.raises(InputError, match=r"has no images .*: give image='.*nested/\*\*/\*\.JPG' for those in its"):
        image_source(tmp_path / "nested")
    assert image_source(f"{tmp_path}/nested/**/*.JPG").count == 1
    with pytest.raises(InputError, match=r"image folder .*empty has no images \(\.png, "):
        image_source(tmp_path / "empty")
    with pytest.raises(InputError, match="image is empty: give the path of an image"):
        image_source(" ")
    with pytest.raises(InputError, match=r"image a\\ud800\.png is no name that a file can have"):
        image_source("a\ud800.png")
    with pytest.raises(InputError, match="is a folder: give it alone"):
        image_source([str(folder)]).read()


def test_file_names(folder) -> None:
    listed = [PIXELS, Image.open(folder / "a.png"), folder / "c.jpg", SourceImage("own.png", PIXELS)]
    assert [image.file_name for image in image_source(listed).read()] == ["image_0.png", "a.png", "c.jpg", "own.png"]
    assert names(PIXELS) == ["image.png"]
    assert names((folder / "a.png").read_bytes()) == ["image.png"]


def test_a_stream_reads_no_more_than_it_yields(folder) -> None:
    """A folder may have more images than fit into memory."""
    read: list[str] = []

    def images():
        for number in range(10):
            read.append(str(number))
            yield SourceImage(str(number), PIXELS)

    batches = in_batches(images(), 2, NetworkSize(longest=None))
    assert [image.file_name for image in next(batches)] == ["0", "1"]
    assert len(read) == 2


def test_only_images_of_one_padded_size_share_a_batch() -> None:
    sizes = [(5, 4), (30, 30), (40, 4), (40, 5), (5, 5), (5, 6), (5, 7)]
    images = [SourceImage(str(size), np.zeros((*size, 3), np.uint8)) for size in sizes]
    batches = in_batches(images, 2, NetworkSize(longest=None))
    assert [[image.pixels.shape[:2] for image in batch] for batch in batches] == [
        [(5, 4), (30, 30)], [(40, 4), (40, 5)], [(5, 5), (5, 6)], [(5, 7)]
    ]  # fmt: skip
