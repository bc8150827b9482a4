"""prepare_own on pictures of 8 x 6 pixels, worked by hand; COCO's sample; each refusal caused on purpose."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as runs
from script_loading import SCRIPTS, load_script

from opsnet.data.panoptic_dataset import PanopticDataset

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "panoptic" / "panopticapi_sample"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"real panoptic files are not at {DATA}")
Prepare = Callable[..., str]
Segment = tuple[int, int, int, int, list[int]]


@pytest.fixture
def prepare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Prepare:
    """Arguments -> what the script says; the set is ``train`` of ``dst`` unless they say otherwise."""
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def run(*arguments: object, code: int = 0) -> str:
        words = [str(a) for a in arguments]
        defaults = {"--set": "train", "--dst": str(tmp_path / "dst"), "--workers": "1"}
        words += [word for pair in defaults.items() if pair[0] not in words for word in pair]
        capsys.readouterr()
        try:
            load_script("prepare_own").main(words)
            ended: object = 0
        except SystemExit as end:
            ended = end.code
        said = capsys.readouterr()
        assert ended == code, said.err
        return said.out + said.err

    return run


def grid(text: str, **values: int) -> np.ndarray:
    """Rows of one-letter or one-digit pixels; letters are looked up in ``values``, a dot is 0."""
    rows = text.split()
    return np.array([[values.get(c, 0) if not c.isdigit() else int(c) for c in row] for row in rows])


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def picture(path: Path, width: int = 8, height: int = 6, orientation: int | None = None) -> Path:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    return save(path, np.full((height, width, 3), 90, np.uint8), exif=exif)


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def read(dst: Path, name: str = "train") -> dict[int | str, tuple[np.ndarray, list[Segment]]]:
    """Image id -> segment ids (H, W), and (id, category, crowd, area, box) of each segment; all files agree."""
    path = dst / f"panoptic_{name}.json"
    options = {"annotations": path, "images": dst / "images" / name, "vocabulary": str(dst / "vocabulary.json")}
    dataset = PanopticDataset(**options)
    dataset.check_pixels()
    found = {}
    for sample, record in zip((dataset[i] for i in range(len(dataset))), json.loads(path.read_text())["annotations"]):
        rows = [(s["id"], s["category_id"], s["iscrowd"], s["area"], s["bbox"]) for s in record["segments_info"]]
        found[record["image_id"]] = (sample.truth.ids.numpy(), rows)
    return found


def vocabulary_of(dst: Path) -> list[tuple[int, str, int]]:
    return [(c["id"], c["name"], c["isthing"]) for c in json.loads((dst / "vocabulary.json").read_text())["categories"]]


# --- masks ---

CLASSES = {
    "categories": [
        {"id": 3, "name": "cat", "isthing": 1},
        {"id": 7, "name": "dog", "isthing": 1, "synonyms": ["hound"]},
        {"id": 9, "name": "grass", "isthing": 0},
    ]
}
SEMANTIC = """
....vvvv
....vvvv
cc99cc99
cc99cc99
ddd99999
ddd99999
"""
NUMBERS = """
55555555
........
55......
55......
55b....5
55b....5
"""


def masks_tree(root: Path, dtype: type = np.uint8) -> list[object]:
    """One picture, a JPEG in a subfolder; the arguments of the command without instances."""
    picture(root / "images" / "a" / "one.jpg")
    save(root / "masks" / "a" / "one.png", grid(SEMANTIC, v=255, c=3, d=7).astype(dtype))
    vocabulary = write(root / "classes.json", CLASSES)
    return ["masks", root / "images", root / "masks", "--vocabulary", vocabulary]


def colours(numbers: np.ndarray) -> np.ndarray:
    return np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("form", ["grey16", "rgb"])
def test_masks_with_instances(tmp_path: Path, prepare: Prepare, form: str) -> None:
    arguments = masks_tree(tmp_path)
    numbers = grid(NUMBERS, b=300)
    save(tmp_path / "which" / "a" / "one.png", numbers.astype(np.uint16) if form == "grey16" else colours(numbers))
    said = prepare(*arguments, "--instances", tmp_path / "which")
    assert f"train: 1 pictures; {tmp_path / 'dst' / 'vocabulary.json'}: 2 things, 1 stuff\n" in said
    ids, segments = read(tmp_path / "dst")["a/one"]
    # The right cat has no number: crowd. 5 is a cat and a dog: two segments. Grass is one, whatever its numbers.
    assert np.array_equal(ids, grid("........ ........ 22551155 22551155 33455555 33455555"))
    assert segments == [
        (1, 3, 1, 4, [4, 2, 2, 2]),
        (2, 3, 0, 4, [0, 2, 2, 2]),
        (3, 7, 0, 4, [0, 4, 2, 2]),
        (4, 7, 0, 2, [2, 4, 1, 2]),
        (5, 9, 0, 18, [2, 2, 6, 4]),
    ]
    assert json.loads((tmp_path / "dst" / "vocabulary.json").read_text()) == CLASSES
    assert (tmp_path / "dst" / "images" / "train" / "a" / "one.jpg").is_file()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masks_alone_make_one_segment_a_class_and_say_so(tmp_path: Path, prepare: Prepare, dtype: type) -> None:
    said = prepare(*masks_tree(tmp_path, dtype))
    assert "all things of a class are one segment a picture" in said
    ids, segments = read(tmp_path / "dst")["a/one"]
    assert np.array_equal(ids, grid("........ ........ 11331133 11331133 22233333 22233333"))
    assert [s[:4] for s in segments] == [(1, 3, 0, 8), (2, 7, 0, 6), (3, 9, 0, 18)]


def test_connected_regions_of_things(tmp_path: Path, prepare: Prepare) -> None:
    assert "one segment a picture" not in prepare(*masks_tree(tmp_path), "--connected")
    ids, _ = read(tmp_path / "dst")["a/one"]
    assert np.array_equal(ids, grid("........ ........ 11442244 11442244 33344444 33344444"))


def test_things_that_touch_at_a_corner_are_connected(tmp_path: Path, prepare: Prepare) -> None:
    arguments = masks_tree(tmp_path)
    save(tmp_path / "masks" / "a" / "one.png", grid("3" + "." * 7 + " .3......" + " ........" * 4).astype(np.uint8))
    prepare(*arguments, "--connected")
    assert [s[3] for s in read(tmp_path / "dst")["a/one"][1]] == [2]


def test_a_palette_is_read_by_its_numbers(tmp_path: Path, prepare: Prepare) -> None:
    arguments = masks_tree(tmp_path)
    mask = Image.fromarray(grid(SEMANTIC, v=255, c=3, d=7).astype(np.uint8))
    mask.putpalette([c for i in range(256) for c in (255 - i, 7, i // 2)])
    mask.save(tmp_path / "masks" / "a" / "one.png")
    prepare(*arguments)
    assert [s[1:4] for s in read(tmp_path / "dst")["a/one"][1]] == [(3, 0, 8), (7, 0, 6), (9, 0, 18)]


def test_void_is_0_and_255_unless_the_vocabulary_has_them(tmp_path: Path, prepare: Prepare) -> None:
    arguments = masks_tree(tmp_path)
    classes = [*CLASSES["categories"], {"id": 0, "name": "road", "isthing": 0}]
    write(tmp_path / "classes.json", {"categories": classes})
    prepare(*arguments, "--dst", tmp_path / "default")
    assert (1, 0, 0, 8, [0, 0, 4, 2]) in read(tmp_path / "default")["a/one"][1]
    prepare(*arguments, "--dst", tmp_path / "said", "--void", "0,3,255")
    assert [s[1] for s in read(tmp_path / "said")["a/one"][1]] == [7, 9]


def test_a_list_of_names_is_numbered_from_1_and_kinds_can_be_said(tmp_path: Path, prepare: Prepare) -> None:
    picture(tmp_path / "images" / "1.png")
    save(tmp_path / "masks" / "1.png", grid("11112222 " * 3 + "33333333 " * 3).astype(np.uint8))
    (tmp_path / "classes.txt").write_text("Blob\nlichen\ngrass\n")
    arguments = ["masks", tmp_path / "images", tmp_path / "masks", "--vocabulary", tmp_path / "classes.txt"]
    prepare(*arguments, "--stuff", "lichen, blob", "--things", "Grass")
    assert vocabulary_of(tmp_path / "dst") == [(1, "Blob", 0), (2, "lichen", 0), (3, "grass", 1)]
    assert [s[1] for s in read(tmp_path / "dst")["1"][1]] == [1, 2, 3]


def test_masks_lie_on_the_upright_picture(tmp_path: Path, prepare: Prepare) -> None:
    arguments = masks_tree(tmp_path)
    picture(tmp_path / "images" / "a" / "one.jpg", width=6, height=8, orientation=6)
    prepare(*arguments)
    assert read(tmp_path / "dst")["a/one"][0].shape == (6, 8)


# --- coco ---


def box(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def compressed(pixels: np.ndarray) -> dict[str, Any]:
    encoded = runs.encode(np.asfortranarray(pixels.astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


CROWD = "1.....1. " * 6
COCO = {
    "images": [
        {"id": 40, "file_name": "a/one.jpg", "width": 8, "height": 6},
        {"id": 7, "file_name": "two.png"},
    ],
    "annotations": [
        {"id": 1, "image_id": 40, "category_id": 5, "segmentation": [box(1, 1, 3, 3)]},  # under the next
        {"id": 2, "image_id": 40, "category_id": 2, "segmentation": [box(1, 1, 3, 3)], "iscrowd": 0},
        {"id": 3, "image_id": 40, "category_id": 1, "segmentation": [box(0, 0, 6, 5), box(0, 5, 1, 6)]},
        {"id": 4, "image_id": 40, "category_id": 2, "segmentation": compressed(grid(CROWD)), "iscrowd": 1},
        {"id": 5, "image_id": 40, "category_id": 9, "segmentation": {"size": [6, 8], "counts": [42, 6]}},
        {"id": 6, "image_id": 40, "category_id": 9, "segmentation": [box(6, 0, 7, 1)]},
    ],
    "categories": [
        {"id": 1, "name": "table", "supercategory": "furniture"},
        {"id": 2, "name": "cup", "isthing": 1},
        {"id": 5, "name": "lid"},
        {"id": 9, "name": "grass", "isthing": 0},
    ],
}


def coco_tree(root: Path, change: Callable[[dict[str, Any]], Any] | None = None) -> list[object]:
    picture(root / "images" / "a" / "one.jpg")
    picture(root / "images" / "two.png", 5, 4)
    content = json.loads(json.dumps(COCO))
    if change is not None:
        change(content)
    return ["coco", root / "images", write(root / "instances.json", content)]


def test_coco(tmp_path: Path, prepare: Prepare) -> None:
    prepare(*coco_tree(tmp_path))
    found = read(tmp_path / "dst")
    # The cup is drawn before the larger table and lies in front; the crowd is smaller and lies behind all the same.
    assert np.array_equal(found[40][0], grid("33333355 32233345 32233345 33333345 33333345 3.....45"))
    assert found[40][1] == [
        (2, 2, 0, 4, [1, 1, 2, 2]),
        (3, 1, 0, 27, [0, 0, 6, 6]),
        (4, 2, 1, 5, [6, 1, 1, 5]),
        (5, 9, 0, 7, [6, 0, 2, 6]),
    ]
    assert found[7][0].shape == (4, 5) and not found[7][0].any() and found[7][1] == []  # kept, all void
    assert vocabulary_of(tmp_path / "dst") == [(1, "table", 1), (2, "cup", 1), (5, "lid", 1), (9, "grass", 0)]


def test_coco_in_worker_processes(tmp_path: Path, prepare: Prepare) -> None:
    arguments = coco_tree(tmp_path)
    prepare(*arguments)
    prepare(*arguments, "--dst", tmp_path / "other", "--workers", 2)
    jsons = [(tmp_path / dst / "panoptic_train.json").read_text() for dst in ("dst", "other")]
    assert jsons[0] == jsons[1]


@needs_data
def test_cocos_sample_is_its_panoptic_form(tmp_path: Path, prepare: Prepare) -> None:
    annotations = DATA / "panoptic_coco_detection_format.json"
    prepare("coco", DATA / "input_images", annotations, "--vocabulary", "coco")
    found = read(tmp_path / "dst")
    truths = json.loads((DATA / "panoptic_examples.json").read_text())["annotations"]
    assert len(truths) == len(found) == 2
    for truth in truths:
        ids, segments = found[truth["image_id"]]
        png = np.array(Image.open(DATA / "panoptic_examples" / truth["file_name"]), dtype=np.int64)
        theirs = png @ [1, 256, 65536]
        assert np.array_equal(ids == 0, theirs == 0)
        pairs = dict(np.unique(np.stack([theirs[theirs > 0], ids[theirs > 0]], axis=1), axis=0).tolist())
        ours = {s[0]: s[1:] for s in segments}
        assert len(pairs) == len(ours) == len(truth["segments_info"])
        for s in truth["segments_info"]:
            assert ours[pairs[s["id"]]] == (s["category_id"], s["iscrowd"], s["area"], s["bbox"])


# --- labelme ---


def shape(label: str, kind: str, points: list[list[float]], **more: Any) -> dict[str, Any]:
    return {"label": label, "shape_type": kind, "points": points, "group_id": None, "flags": {}, **more}


def png_text(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(bool)).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


SHAPES = [
    shape("dog", "polygon", [[0, 0], [4, 0], [4, 3], [0, 3]]),
    shape("cat", "rectangle", [[7, 2], [5, 0]], group_id=1),
    shape("cat", "circle", [[6, 4], [6, 5]], group_id=1),
    shape("cat", "rectangle", [[4, 0], [5, 1]]),
    shape("grass", "mask", [[0, 4], [2, 5]], mask=png_text(grid("110 111"))),
    shape("grass", "rectangle", [[7, 5], [8, 6]]),
    shape("__ignore__", "rectangle", [[1, 1], [2, 2]]),
]


def labelme_tree(root: Path, shapes: list[dict[str, Any]] = SHAPES, **more: Any) -> list[object]:
    picture(root / "own" / "a" / "pictures" / "one.jpg")
    content = {"version": "5.5.0", "shapes": shapes, "imagePath": "pictures\\one.jpg", "imageData": None}
    write(root / "own" / "a" / "first.json", {**content, "imageWidth": 8, "imageHeight": 6, **more})
    return ["labelme", root / "own"]


def test_labelme(tmp_path: Path, prepare: Prepare) -> None:
    prepare(*labelme_tree(tmp_path))
    ids, segments = read(tmp_path / "dst")["a/first"]
    # A circle of radius 1 covers the four pixels around its centre.
    assert np.array_equal(ids, grid("1111322. 1.11.22. 1111.... .....22. 44...22. 444....4"))
    assert segments == [
        (1, 2, 0, 11, [0, 0, 4, 3]),
        (2, 1, 0, 8, [5, 0, 2, 5]),
        (3, 1, 0, 1, [4, 0, 1, 1]),
        (4, 3, 0, 6, [0, 4, 8, 2]),
    ]
    assert vocabulary_of(tmp_path / "dst") == [(1, "cat", 1), (2, "dog", 1), (3, "grass", 0)]
    assert (tmp_path / "dst" / "images" / "train" / "a" / "first.jpg").is_file()


def test_labelmes_second_set_uses_the_ids_of_the_first(tmp_path: Path, prepare: Prepare) -> None:
    prepare(*labelme_tree(tmp_path / "train"))
    shared = tmp_path / "dst" / "vocabulary.json"
    content = json.loads(shared.read_text())
    content["categories"][1]["synonyms"] = ["hound"]  # by hand
    write(shared, content)
    prepare(*labelme_tree(tmp_path / "val", [shape("Hound", "polygon", [[0, 0], [4, 0], [4, 3]])]), "--set", "val")
    assert [s[1] for s in read(tmp_path / "dst", "val")["a/first"][1]] == [2]
    assert json.loads(shared.read_text()) == content


# --- what is refused ---


def refused(prepare: Prepare, arguments: list[object], *parts: object) -> None:
    message = prepare(*arguments, code=2).splitlines()[-1]
    assert message.startswith("error: ")
    for part in parts:
        assert str(part) in message


def test_masks_and_pictures_belong_together(tmp_path: Path, prepare: Prepare) -> None:
    arguments = masks_tree(tmp_path)
    bare = picture(tmp_path / "images" / "two.jpg")
    refused(prepare, arguments, f"picture {bare} has no map {tmp_path / 'masks' / 'two.png'} (1 of 2", "add the maps")
    bare.unlink()
    stray = save(tmp_path / "masks" / "two.png", np.zeros((6, 8), np.uint8))
    refused(prepare, arguments, f"map {stray} has no picture of its name (1 of 2", "add the pictures")
    stray.unlink()
    save(tmp_path / "which" / "b.png", np.zeros((6, 8), np.uint8))
    refused(prepare, [*arguments, "--instances", tmp_path / "which"], "one.png", "in --instances")


def test_folders_and_stems(tmp_path: Path, prepare: Prepare) -> None:
    arguments = masks_tree(tmp_path)
    picture(tmp_path / "images" / "a" / "one.png")
    refused(prepare, arguments, f"{tmp_path / 'images'} has a/one.jpg and a/one.png", "rename or remove")
    (tmp_path / "images" / "a" / "one.png").unlink()
    picture(tmp_path / "images" / "1.jpg")
    picture(tmp_path / "images" / "01.jpg")
    refused(prepare, arguments, "01.jpg and 1.jpg")
    (tmp_path / "empty" / ".hidden").mkdir(parents=True)
    picture(tmp_path / "empty" / ".hidden" / "a.jpg")
    refused(
        prepare, ["masks", tmp_path / "empty", *arguments[2:]], f"folder {tmp_path / 'empty'} has no", "check the path"
    )
    refused(prepare, ["labelme", tmp_path / "empty"], "has no .json file")
    for kind in (["masks", tmp_path / "no", *arguments[2:]], ["labelme", tmp_path / "no"]):
        refused(prepare, kind, f"folder {tmp_path / 'no'} does not exist")


def test_mask_values_and_modes(tmp_path: Path, prepare: Prepare) -> None:
    arguments = masks_tree(tmp_path)
    mask = tmp_path / "masks" / "a" / "one.png"
    save(mask, np.full((6, 8), 4, np.uint8))
    refused(prepare, arguments, f"{mask} has the value 4", "add it to the vocabulary, or say --void 0,4,255")
    save(mask, np.zeros((6, 8, 3), np.uint8))
    refused(prepare, arguments, f"map {mask} has colour mode RGB: write category ids as grey")
    mask.write_text("no picture")
    refused(prepare, arguments, f"map {mask} cannot be read as a picture")
    save(mask, np.zeros((6, 7), np.uint8))
    refused(prepare, arguments, f"map {mask} is 7 x 6", "one.jpg is 8 x 6: give both the same size")
    (tmp_path / "images" / "a" / "one.jpg").write_text("no picture")
    refused(prepare, arguments, "one.jpg cannot be read as a picture")


def test_a_mask_on_the_picture_as_stored_is_told_of_exif(tmp_path: Path, prepare: Prepare) -> None:
    arguments = masks_tree(tmp_path)
    picture(tmp_path / "images" / "a" / "one.jpg", orientation=8)
    refused(prepare, arguments, "one.png is 8 x 6", "one.jpg is 6 x 8: EXIF turns the picture")


COCO_ERRORS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no images": (lambda c: c.pop("images"), "is not a COCO json of instances"),
    "no picture": (lambda c: c.update(images=[], annotations=[]), "has no images"),
    "list": (lambda c: c.update(images=3), "is not a COCO json of instances"),
    "names": (lambda c: c["categories"][0].pop("name"), "`categories` of"),
    "one name twice": (lambda c: c["categories"][0].update(name="CUP"), "has the name 'cup' twice"),
    "one id twice": (lambda c: c["images"][0].update(id=7), "has an image id twice"),
    "stranger": (lambda c: c["annotations"][0].update(image_id=8), "annotates image 8, which is not in its `images`"),
    "category": (lambda c: c["annotations"][0].update(category_id=4), "annotation 1 of"),
    "stem": (lambda c: c["images"][1].update(file_name="a/one.png"), "has a/one.jpg and a/one.png"),
    "absolute": (lambda c: c["images"][1].update(file_name="/two.png"), "has file_name /two.png: write it relative"),
    "above": (lambda c: c["images"][1].update(file_name="../two.png"), "has file_name ../two.png: write it relative"),
    "missing": (lambda c: c["images"][1].update(file_name="three.png"), "three.png does not exist"),
    "size": (lambda c: c["images"][0].update(width=9), "is 9 x 6 (width x height), but its picture"),
    "box": (lambda c: c["annotations"][0].update(segmentation=[]), "(it has no polygon): correct or remove it"),
    "none": (lambda c: c["annotations"][0].pop("segmentation"), "(it has none): correct or remove it"),
    "two points": (lambda c: c["annotations"][0].update(segmentation=[[1, 1, 2, 2]]), "a polygon of 4 numbers"),
    "half": (lambda c: c["annotations"][0].update(segmentation=[[1, 1, 2, 2, 3, 3, 4]]), "a polygon of 7 numbers"),
    "flat": (lambda c: c["annotations"][0].update(segmentation=box(1, 1, 3, 3)), "polygons are lists within a list"),
    "text": (lambda c: c["annotations"][0].update(segmentation=[["a"] * 6]), "annotation 1 of"),
    "nan": (lambda c: c["annotations"][0].update(segmentation=[[float("nan")] * 6]), "that is not a number"),
    "runs": (lambda c: c["annotations"][4]["segmentation"].update(counts=[42, 5]), "do not add up to the picture"),
    "packed": (lambda c: c["annotations"][3]["segmentation"].update(counts="0T3"), "annotation 4 of"),
    "few": (lambda c: c["annotations"][3]["segmentation"].pop("counts"), "run lengths without `counts`"),
    "run size": (lambda c: c["annotations"][4]["segmentation"].update(size=[8, 6]), "run lengths of size [8, 6]"),
}


@pytest.mark.parametrize("name", COCO_ERRORS)
def test_what_a_coco_json_may_not_say(tmp_path: Path, prepare: Prepare, name: str) -> None:
    change, sentence = COCO_ERRORS[name]
    refused(prepare, coco_tree(tmp_path, change), sentence)
    assert not (tmp_path / "dst" / "vocabulary.json").exists()


def test_files_that_are_no_json(tmp_path: Path, prepare: Prepare) -> None:
    coco, labelme = coco_tree(tmp_path), labelme_tree(tmp_path)
    refused(prepare, [*coco[:2], tmp_path / "no.json"], f"{tmp_path / 'no.json'} does not exist")
    for path, arguments in ((tmp_path / "bad.json", coco), (tmp_path / "own" / "a" / "bad.json", labelme)):
        path.write_text("{")
        refused(prepare, [*coco[:2], path] if arguments is coco else labelme, f"{path} is not a json file")


LABELME_ERRORS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "point": ([shape("cat", "point", [[1, 1]])], "shape 1 ('cat') of"),
    "line": ([SHAPES[0], shape("cat", "line", [[1, 1], [2, 2]])], "(a line has no area: draw a polygon"),
    "two points": ([shape("cat", "polygon", [[1, 1], [2, 2]])], "a polygon of 4 numbers"),
    "circle": ([shape("cat", "circle", [[1, 1]])], "cannot be drawn"),
    "no mask": ([shape("cat", "mask", [[0, 0], [1, 1]])], "cannot be drawn"),
    "bad mask": ([shape("cat", "mask", [[0, 0], [1, 1]], mask="abcd")], "its mask is no PNG in base64"),
    "mask size": (
        [shape("cat", "mask", [[0, 0], [1, 1]], mask=png_text(grid("111")))],
        "its mask is 3 x 1, but its points make 2 x 2",
    ),
    "case": ([*SHAPES, shape("Cat", "polygon", [[0, 0], [4, 0], [4, 3]])], "differ in case alone: rename one"),
    "no label": ([{"points": []}], "first.json is not labelme's"),
    "nothing": ([], "has a shape with a label: label the pictures first"),
}


@pytest.mark.parametrize("name", LABELME_ERRORS)
def test_what_labelmes_json_may_not_say(tmp_path: Path, prepare: Prepare, name: str) -> None:
    shapes, sentence = LABELME_ERRORS[name]
    refused(prepare, labelme_tree(tmp_path, shapes), sentence)


def test_labelmes_picture(tmp_path: Path, prepare: Prepare) -> None:
    refused(prepare, labelme_tree(tmp_path, imageWidth=6, imageHeight=8), "first.json is 6 x 8", "one.jpg is 8 x 6")
    arguments = labelme_tree(tmp_path, imageData="abc", imagePath="two.jpg")
    refused(prepare, arguments, "two.jpg of", "its copy inside the json, imageData, is not used", "put it there")


def test_sets_share_one_vocabulary(tmp_path: Path, prepare: Prepare) -> None:
    prepare(*coco_tree(tmp_path / "train"))
    shared = tmp_path / "dst" / "vocabulary.json"
    content = json.loads(shared.read_text())
    content["categories"][1]["synonyms"] = ["mug"]  # by hand: a set need not have them
    write(shared, content)
    fewer = coco_tree(tmp_path / "few", lambda c: c.update(categories=[c["categories"][1]], annotations=[]))
    prepare(*fewer, "--set", "few")
    assert len(vocabulary_of(tmp_path / "dst")) == 4
    more = coco_tree(tmp_path / "more", lambda c: c["categories"].append({"id": 11, "name": "sky"}))
    fix = f"give --vocabulary {shared}, or another --dst"
    refused(prepare, [*more, "--set", "val"], f"{shared}, which all", "lacks 11: sky (thing)", fix)
    other = coco_tree(tmp_path / "other", lambda c: c["categories"][2].update(name="dog"))
    refused(prepare, [*other, "--set", "val"], "has 5: lid (thing) in place of 5: dog (thing)", fix)
    kind = coco_tree(tmp_path / "kind", lambda c: c["categories"][3].pop("isthing"))
    refused(prepare, [*kind, "--set", "val"], "has 9: grass (stuff) in place of 9: grass (thing)", fix)
    prepare(*kind, "--set", "val", "--vocabulary", shared)
    assert read(tmp_path / "dst", "val")[40][1] == read(tmp_path / "dst")[40][1]
    labels = labelme_tree(tmp_path / "labels")
    refused(prepare, [*labels, "--set", "val2"], f"first.json has the label 'cat', which the vocabulary {shared} lacks")


def test_a_vocabulary_in_place_of_the_categories_has_their_ids(tmp_path: Path, prepare: Prepare) -> None:
    arguments = coco_tree(tmp_path)
    given = tmp_path / "given.json"
    rows = [{"isthing": 1, **c} for c in COCO["categories"]]
    write(given, {"categories": rows[:3]})
    refused(prepare, [*arguments, "--vocabulary", given], "category 9: grass, but vocabulary 'given' lacks that id")
    write(given, {"categories": [{**rows[0], "name": "cup"}, {**rows[1], "name": "mug"}, *rows[2:]]})
    refused(prepare, [*arguments, "--vocabulary", given], "category 2: cup, but", "has that name at 1")


def test_kinds_of_unknown_names(tmp_path: Path, prepare: Prepare) -> None:
    arguments = coco_tree(tmp_path)
    refused(prepare, [*arguments, "--stuff", "gras"], "--stuff says 'gras', which is no name of vocabulary")
    refused(prepare, [*arguments, "--stuff", "cup", "--things", "Cup"], "'Cup' is in --stuff and in --things")


@pytest.mark.parametrize("words", [["--set", "a/b"], ["--void", "x"], ["--connected", "--instances", "a"]])
def test_arguments_that_make_no_sense(tmp_path: Path, prepare: Prepare, words: list[str]) -> None:
    assert words[0] in prepare(*masks_tree(tmp_path), *words, code=2)
