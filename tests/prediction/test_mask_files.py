"""Files of masks: which masks belong to which image, and what is refused before the first image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from opsnet.prediction.image_ids import image_files
from opsnet.prediction.mask_files import find_masks, read_masks
from opsnet.utils.errors import InputError

SIZE = (4, 6)
MASK = np.zeros(SIZE, bool)
MASK[1:3, 2:5] = True


def record(**more: Any) -> dict[str, Any]:
    runs = coco.encode(np.asfortranarray(MASK.astype(np.uint8)))
    return {"segmentation": {"size": runs["size"], "counts": runs["counts"].decode()}, **more}


@pytest.fixture
def write(tmp_path: Path):
    def to(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        return path

    return to


def ids(path: Path, *images: str, ids_from: Path | None = None) -> dict[str, tuple]:
    """The ids of each image's masks."""
    files = image_files([Path(name) for name in images], ids_from)
    masks = find_masks(path, files)
    return {image.as_posix(): masks.of(image, SIZE).ids for image in files.of}


def test_a_list_of_one_image(write) -> None:
    path = write("m.json", [record(id=4, predicted_iou=0.5), record(id=9)])
    found = read_masks(path, Path("photo.jpg"), SIZE)
    assert (found.ids, found.scores.tolist()) == ((4, 9), [0.5, 1])
    assert np.array_equal(found.masks, [MASK, MASK])
    assert read_masks(str(path), None, SIZE).ids == (4, 9)


def test_sa_1b(write) -> None:
    image = {"image_id": 10, "width": 6, "height": 4, "file_name": "sa_10.jpg"}
    assert ids(write("sa_10.json", {"image": image, "annotations": [record(id=3)]}), "sa_10.jpg") == {"sa_10.jpg": (3,)}


def test_cocos_instances_are_found_by_name(write) -> None:
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "x/b.jpg"}, {"id": 3, "file_name": "c.jpg"}]
    annotations = [record(id=5, image_id=2), record(id=6, image_id=1), record(id=8, image_id=2)]
    path = write("i.json", {"images": images, "annotations": annotations, "categories": []})
    assert ids(path, "p/b.jpg", "p/a.jpg", "p/c.jpg") == {"p/b.jpg": (5, 8), "p/a.jpg": (6,), "p/c.jpg": ()}
    with pytest.raises(InputError, match=r"image p/d\.jpg is not in `images` of .*i\.json"):
        ids(path, "p/d.jpg")
    with pytest.raises(InputError, match=r"image the image, which is not given as a file is not in `images`"):
        read_masks(path, None, SIZE)


def test_cocos_results_are_found_by_id(write) -> None:
    path = write("r.json", [record(image_id=i) for i in (39769, 7, 39769)])
    assert ids(path, "000000039769.jpg", "8.jpg") == {"000000039769.jpg": (0, 1), "8.jpg": ()}
    named = write("n.json", [record(image_id=name) for name in ("a", "b")])
    assert ids(named, "a.jpg") == {"a.jpg": (0,)}
    truth = write("gt.json", {"images": [{"id": 7, "file_name": "x.jpg"}]})
    assert ids(path, "x.jpg", ids_from=truth) == {"x.jpg": (0,)}
    with pytest.raises(InputError, match=r"have the image ids 39769, 7, and the id of x\.jpg is not known: give"):
        ids(path, "x.jpg")


def test_masks_of_another_image_are_refused_even_if_they_are_of_one(write) -> None:
    path = write("r.json", [record(image_id=77, score=0.5), record(image_id=77)])
    assert ids(path, "000000000077.jpg") == {"000000000077.jpg": (0, 1)}
    assert ids(path, "8.jpg", "77.jpg") == {"8.jpg": (), "77.jpg": (0, 1)}
    with pytest.raises(InputError, match=r"have the image ids 77, and the id of 8\.jpg is 8: give ids_from=JSON"):
        ids(path, "8.jpg")
    with pytest.raises(InputError, match=r"the id of photo\.jpg is not known: .* or remove image_id"):
        ids(path, "photo.jpg")
    with pytest.raises(InputError, match=r"mask 1 has no image_id, but the file has several: add it"):
        ids(write("some.json", [record(image_id=77), record()]), "77.jpg")


def test_a_file_of_an_images_name_with_masks_of_another_is_refused(write) -> None:
    folder = write("masks/77.json", [record(image_id=77)]).parent
    write("masks/78.json", [record(image_id=77)])
    assert ids(folder, "77.jpg") == {"77.jpg": (0,)}
    with pytest.raises(InputError, match=r"78\.json are of image 77, but 78\.jpg is image 78: correct image_id"):
        ids(folder, "77.jpg", "78.jpg")
    listed = {"images": [{"id": 1, "file_name": "b.jpg"}], "annotations": [record(image_id=1)]}
    write("masks/a.json", listed)
    with pytest.raises(InputError, match=r"image a\.jpg is not in `images` of .*a\.json"):
        ids(folder, "a.jpg")


def test_sams_folders_of_binary_pngs(tmp_path: Path) -> None:
    """As ``amg.py`` writes them; more of them in test_mask_folders.py."""
    for name in ("a", "b"):
        (tmp_path / "out" / name).mkdir(parents=True)
        Image.fromarray(MASK.astype(np.uint8) * 255).save(tmp_path / "out" / name / "0.png")
    assert ids(tmp_path / "out", "p/a.jpg", "p/b.jpg") == {"p/a.jpg": (0,), "p/b.jpg": (0,)}
    assert ids(tmp_path / "out" / "a", "p/photo.jpg") == {"p/photo.jpg": (0,)}
    with pytest.raises(InputError, match=r"has no c\.json, \.png or folder of PNGs for p/c\.jpg"):
        ids(tmp_path / "out", "p/c.jpg")


def test_pngs_of_ids(tmp_path: Path) -> None:
    grey = np.zeros(SIZE, np.uint8)
    grey[0], grey[1, 1] = 200, 3
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(grey.astype(np.uint16) * 300).save(tmp_path / "b.png")
    Image.fromarray(np.stack([grey, grey * 0, grey // 3], -1)).save(tmp_path / "c.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "d.png")
    Image.fromarray(grey > 0).save(tmp_path / "e.png")
    expected = {"a": (3, 200), "b": (900, 60000), "c": (3 + 65536, 200 + 66 * 65536), "d": (3, 200), "e": (1,)}
    assert {name: ids(tmp_path / f"{name}.png", "x.jpg")["x.jpg"] for name in expected} == expected
    found = read_masks(tmp_path / "c.png", Path("x.jpg"), SIZE)
    assert np.array_equal(found.masks, [grey == 3, grey == 200])


def test_a_folder(write, tmp_path: Path) -> None:
    folder = write("masks/a.json", [record(id=4)]).parent
    Image.fromarray(MASK.astype(np.uint8) * 9).save(folder / "b.png")
    assert ids(folder, "p/a.jpg", "p/b.jpg") == {"p/a.jpg": (4,), "p/b.jpg": (9,)}
    with pytest.raises(InputError, match=r"has no c\.json, .* for p/c\.jpg \(1 of 2 images have none\)"):
        ids(folder, "p/a.jpg", "p/c.jpg")
    write("masks/b.json", [])
    with pytest.raises(InputError, match=r"has b\.json and b\.png: remove one"):
        ids(folder, "p/b.jpg")
    write("masks/d.json", [record(image_id=1), record(image_id=2)])
    with pytest.raises(InputError, match=r"d\.json has masks of several images"):
        ids(folder, "d.jpg")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is no json"),
        ("[" * 100_000, "is no json"),
        ("5", "has no list of masks"),
        ('{"masks": []}', "has no list of masks"),
        ('{"annotations": [{"segments_info": []}]}', "is a panoptic json, whose masks are in PNGs"),
        ('{"annotations": [], "images": 5}', "`images` is no list"),
        ('{"annotations": [], "images": [{"id": 1}]}', "'file_name' is missing"),
        ('[{"image_id": 1.5}]', "mask 0 has image_id 1.5, not a whole number or text"),
        ("[5]", "mask 0 is 5, not an object"),
        ('[{"segmentation": {"size": [4, 6], "counts": [3]}}]', r"m\.json: mask 0 has run lengths of 3 pixels in all"),
    ],
)
def test_invalid_json(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(content)
    with pytest.raises(InputError, match=message):
        ids(tmp_path / "m.json", "x.jpg")


def test_other_invalid_files(write, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"masks .*no\.json does not exist"):
        ids(tmp_path / "no.json", "x.jpg")
    with pytest.raises(InputError, match=r"m\.pkl is no \.json, \.png or folder"):
        ids(tmp_path / "m.pkl", "x.jpg")
    with pytest.raises(InputError, match=r"are of one image, but there are 2"):
        ids(write("m.json", [record()]), "x.jpg", "y.jpg")
    (tmp_path / "t.png").write_text("text")
    with pytest.raises(InputError, match=r"t\.png cannot be read as an image"):
        ids(tmp_path / "t.png", "x.jpg")
    Image.new("LA", SIZE[::-1]).save(tmp_path / "la.png")
    with pytest.raises(InputError, match=r"la\.png has mode LA"):
        ids(tmp_path / "la.png", "x.jpg")
    Image.new("L", (60, 40)).save(tmp_path / "big.png")
    with pytest.raises(InputError, match=r"big\.png: the map is 60 x 40 pixels, but the image is 6 x 4"):
        ids(tmp_path / "big.png", "x.jpg")
