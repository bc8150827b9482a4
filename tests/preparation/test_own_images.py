"""Images that labels name by paths and addresses of another machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_sets import save_image

from opsnet.preparation.own_images import ImageFolder, candidates
from opsnet.utils.errors import InputError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat.jpg", ["cat.jpg"]),
        ("images\\1a2b3c4d-cat.jpg", ["1a2b3c4d-cat.jpg", "cat.jpg"]),
        (
            "/data/upload/3/1a2b3c4d-a%20b.jpg",
            ["1a2b3c4d-a%20b.jpg", "1a2b3c4d-a b.jpg", "a%20b.jpg", "a b.jpg"],
        ),
        ("/data/local-files/?d=photos/a/cat.jpg", ["cat.jpg"]),
        ("s3://bucket/a/cat.jpg?signature=x", ["cat.jpg"]),
        ("C:\\photos\\cat.jpg", ["cat.jpg"]),
        ("1a2b3c4d-.jpg", ["1a2b3c4d-.jpg", ".jpg"]),
    ],
)  # fmt: skip
def test_names_that_a_path_may_mean(name: str, expected: list[str]) -> None:
    assert candidates(name) == expected


def test_paths_stay_in_their_folder(tmp_path: Path) -> None:
    save_image(tmp_path / "images" / "a" / "cat.jpg")
    save_image(tmp_path / "outside.jpg")
    folder = ImageFolder(tmp_path / "images")
    assert folder.find("a\\cat.jpg", "image 1") == folder.find("./a//cat.jpg", "image 1") == "a/cat.jpg"
    for name in (".", "..", "../outside.jpg", "a\\..\\..\\outside.jpg", str(tmp_path / "outside.jpg"), "C:\\cat.jpg"):
        with pytest.raises(InputError, match=r"image 1 has file_name .*not the path of a file inside its folder"):
            folder.find(name, "image 1")
    for value in (None, 3, ["a/cat.jpg"], ""):
        with pytest.raises(InputError, match="image 1 has file_name"):
            folder.find(value, "image 1")
    with pytest.raises(InputError, match=r"dog\.jpg does not exist, which image 1 names: add it, or give --by-name"):
        folder.find("a/dog.jpg", "image 1")


def test_by_name_two_files_are_one_too_many(tmp_path: Path) -> None:
    save_image(tmp_path / "a" / "cat.jpg")
    folder = ImageFolder(tmp_path, by_name=True)
    assert folder.find("../../elsewhere/1a2b3c4d-cat.jpg", "image 1") == "a/cat.jpg"
    save_image(tmp_path / "b" / "cat.jpg")
    with pytest.raises(InputError, match=r"has a/cat\.jpg and b/cat\.jpg, and image 1 names cat\.jpg: keep one"):
        ImageFolder(tmp_path, by_name=True).find("cat.jpg", "image 1")
    with pytest.raises(InputError, match="as its image: give a name"):
        folder.find(7, "image 1")
