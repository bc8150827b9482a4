"""The ids and file names of predictions: the dataset's, the numbers in the names, or a count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opsnet.prediction.image_ids import image_files
from opsnet.utils.errors import DatasetError, InputError


def ids(names: list[str], ids_from: Path | None = None) -> dict[str, tuple[int | str, str]]:
    return {path.as_posix(): tuple(image) for path, image in image_files([Path(n) for n in names], ids_from).of.items()}


@pytest.fixture
def listed(tmp_path: Path):
    """(file names) -> a json that lists them with the ids 11, 12, ..."""

    def write(*names: str) -> Path:
        path = tmp_path / "gt.json"
        images = [{"id": i, "file_name": name} for i, name in enumerate(names, start=11)]
        path.write_text(json.dumps({"images": images}))
        return path

    return write


def test_numbers_in_the_names() -> None:
    assert ids(["a/000000039769.jpg", "a/7.png"]) == {
        "a/000000039769.jpg": (39769, "000000039769.jpg"), "a/7.png": (7, "7.png"),
    }  # fmt: skip
    assert ids(["000000039769.jpg"]) == {"000000039769.jpg": (39769, "000000039769.jpg")}
    assert image_files([Path("1.jpg"), Path("2.jpg")]).note == "image ids are the numbers in the file names"


@pytest.mark.parametrize("names", [["1.jpg", "x.jpg"], ["1.jpg", "01.jpg"], ["a/1.jpg", "b/1.jpg"], [f"{10**17}.jpg"]])
def test_a_count_where_the_numbers_are_not_ids(names: list[str]) -> None:
    found = image_files([Path(name) for name in names])
    assert [image.id for image in found.of.values()] == list(range(len(names)))
    assert f"0 to {len(names) - 1}" in found.note
    assert "ids_from=JSON" in found.note


def test_equal_names_are_told_apart_by_their_folders() -> None:
    assert [name for _, name in ids(["x/a/1.jpg", "x/b/1.jpg"]).values()] == ["a/1.jpg", "b/1.jpg"]


def test_ids_and_names_of_a_json(listed) -> None:
    path = listed("b.jpg", "sub\\a.jpg", "c.jpg")
    assert ids(["photos/a.jpg", "photos/b.jpg"], path) == {
        "photos/a.jpg": (12, "sub/a.jpg"), "photos/b.jpg": (11, "b.jpg"),
    }  # fmt: skip
    assert ids(["a.png"], path) == {"a.png": (12, "sub/a.jpg")}  # a converted image
    assert str(path) in image_files([Path("a.png")], path).note


def test_equal_names_in_a_json(listed) -> None:
    path = listed("x/a.jpg", "y/a.jpg")
    assert ids(["p/x/a.jpg", "p/y/a.jpg"], path) == {"p/x/a.jpg": (11, "x/a.jpg"), "p/y/a.jpg": (12, "y/a.jpg")}
    with pytest.raises(InputError, match=r"image p/a\.jpg may be x/a\.jpg or y/a\.jpg of .*gt\.json"):
        ids(["p/a.jpg"], path)


def test_images_that_the_json_does_not_fit(listed, tmp_path: Path) -> None:
    path = listed("a.jpg", "b.jpg")
    with pytest.raises(InputError, match=r"image p/c\.jpg is not in `images` of .*gt\.json \(1 of 2 are not; it"):
        ids(["p/a.jpg", "p/c.jpg"], path)
    with pytest.raises(InputError, match=r"a\.png and p/a\.webp are both image 11 of"):
        ids(["a.png", "p/a.webp"], path)
    path.write_text("{}")
    with pytest.raises(DatasetError, match=r"gt\.json: 'images' is missing"):
        ids(["a.jpg"], path)
    with pytest.raises(DatasetError, match=r"no\.json does not exist"):
        ids(["a.jpg"], tmp_path / "no.json")
