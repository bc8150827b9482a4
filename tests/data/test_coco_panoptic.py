"""COCO's panoptic format: training, scoring, the doctor and preparation take or refuse the same files."""

from __future__ import annotations

import errno
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_sets import VOCABULARY, TinySet

from opsnet.data import findings as kinds
from opsnet.data.coco_panoptic import PanopticJson
from opsnet.data.coco_panoptic_writing import SegmentLabel, content, describe, write_annotation
from opsnet.data.conversion import Source, convert
from opsnet.data.findings import Finding
from opsnet.data.inspection import inspect_image
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.data.panoptic_png import ids_to_rgb, read_ids
from opsnet.data.panoptic_records import file_name
from opsnet.data.set_inspection import PanopticInspector
from opsnet.data.set_listing import list_images
from opsnet.evaluation.score import Score, score
from opsnet.prediction.carriers import NamedSegment, PanopticResult
from opsnet.prediction.writing import PredictionWriter
from opsnet.utils.errors import DatasetError
from opsnet.utils.files import WriteError

# --- who reads or writes the format: each returns the segments without crowd per category, or raises ----------------


def train(made: TinySet) -> Counter[int]:
    dataset = PanopticDataset(**made.options)
    dataset.check_pixels()
    samples = [dataset[i] for i in range(len(dataset))]
    targets = Counter(VOCABULARY.ids[label] for sample in samples for label in sample.labels.tolist())
    truths = Counter(
        VOCABULARY.ids[s.label] for sample in samples for s in sample.truth.segments if not s.is_crowd
    )  # fmt: skip
    assert targets == truths
    return targets


def matches(answer: Score) -> Counter[int]:
    rows = zip(answer.categories, answer.result.per_class, strict=True)
    return Counter({category.id: quality.tp for category, quality in rows if quality.tp})


def score_as_truth(made: TinySet) -> Counter[int]:
    return matches(score(made.annotations, sound(made)))


def examine(made: TinySet) -> Counter[int]:
    found: list[Finding] = []
    source = PanopticInspector.from_keywords(made.options).source
    segments: Counter[int] = Counter()
    for annotated in list_images(source, found.append)[1]:
        report = inspect_image(annotated, VOCABULARY)
        found += report.findings
        segments.update(s.category_id for s in report.segments if not s.is_crowd)
    # That a number in the json is wrong leaves the file readable: the doctor alone compares areas.
    errors = [f for f in found if f.kind.severity == "error" and f.kind != kinds.WRONG_AREA]
    if errors:
        raise DatasetError(f"{made.annotations}: {errors[0].where}: {errors[0].message}")
    return segments


def prepare(made: TinySet) -> Counter[int]:
    """What a reader would find in the files, written anew."""
    data = json.loads(made.annotations.read_text())
    infos = {a["file_name"]: a["segments_info"] for a in data["annotations"]}
    names = {str(image["id"]): image["file_name"] for image in data["images"]}
    root = made.annotations.parent / "prepared"
    sources = [
        Source(
            image_id=a["image_id"],
            image=made.images / f"p{number}.bmp",
            file_name=names[str(a["image_id"])],
            png=a["file_name"],
            labels=(made.segments / a["file_name"],),
        )
        for number, a in enumerate(data["annotations"])
    ]

    def read(one: Source) -> tuple[np.ndarray, list[SegmentLabel]]:
        labels = [SegmentLabel(s["id"], s["category_id"], s.get("iscrowd", 0)) for s in infos[one.png]]
        return read_ids(one.labels[0]), labels

    out = TinySet(root / "images", root / "set.json", root / "set")
    convert(
        sources, read, annotations=out.annotations, images=out.images, categories=data["categories"], workers=1
    )  # fmt: skip
    return train(out)


CONSUMERS = [train, score_as_truth, examine, prepare]


def sound(made: TinySet) -> Path:
    """The json of a copy that was laid aside before anything was changed; its PNGs are beside it."""
    return made.annotations.parent / "sound" / "panoptic.json"


@pytest.fixture
def made(tiny: TinySet) -> TinySet:
    """Three images: cat, dog, grass and a crowd of cats; cat and grass; nothing. Areas are in the json."""
    beside = sound(tiny)
    beside.parent.mkdir()

    def areas(data: dict[str, Any]) -> None:
        for annotation in data["annotations"]:
            ids = read_ids(tiny.segments / annotation["file_name"])
            for segment in annotation["segments_info"]:
                segment["area"] = int((ids == segment["id"]).sum())

    tiny.edit(areas)
    beside.write_text(tiny.annotations.read_text())
    beside.with_suffix("").symlink_to(copy_of(tiny.segments, beside.parent / "pngs"))
    return tiny


def copy_of(folder: Path, target: Path) -> Path:
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


# --- what they are given --------------------------------------------------------------------------------------------

Change = Callable[[TinySet], object]
ALL = Counter({3: 2, 5: 2, 9: 1})


def in_json(key: str, **values: object) -> Change:
    """Changes the first entry of a list of the json; ``segments_info`` is the first image's."""

    def change(made: TinySet) -> None:
        made.edit(
            lambda d: (d["annotations"][0]["segments_info"] if key == "segments_info" else d[key])[0].update(values)
        )

    return change


def more_segments(*segments: dict[str, object]) -> Change:
    return lambda made: made.edit(lambda d: d["annotations"][0]["segments_info"].extend(segments))


def stored_as(mode: str) -> Change:
    def change(made: TinySet) -> None:
        for path in made.segments.iterdir():
            with Image.open(path) as image:
                image.load()
                (image.convert("P", palette=Image.Palette.ADAPTIVE) if mode == "P" else image.convert(mode)).save(path)

    return change


def repaint(made: TinySet) -> None:
    ids = read_ids(made.segments / "p0.png")
    Image.fromarray(ids_to_rgb(np.where(ids == 300, 77, ids))).save(made.segments / "p0.png")


def grey(made: TinySet) -> None:
    Image.fromarray(np.ones((4, 6), np.uint16)).save(made.segments / "p0.png")


TAKEN: dict[str, tuple[Change, Counter[int]]] = {
    "as it is": (lambda made: None, ALL),
    "palette PNGs": (stored_as("P"), ALL),
    "RGBA PNGs": (stored_as("RGBA"), ALL),
    "crowd": (in_json("segments_info", iscrowd=1), Counter({3: 2, 5: 2})),
    "crowd as true": (in_json("segments_info", iscrowd=True), Counter({3: 2, 5: 2})),
    "whole floats": (in_json("segments_info", id=300.0, category_id=9.0, iscrowd=0.0), ALL),
    "ids of images as text": (in_json("annotations", image_id="7"), ALL),
    "an area that is not whole": (in_json("segments_info", area=6.25), ALL),
    "no area": (in_json("segments_info", area=None), ALL),
    "a folder in a name": (in_json("annotations", file_name="./p0.png"), ALL),
}
# How to spoil the files, and what the message has, besides the json or the PNG.
REFUSED: dict[str, tuple[Change, str]] = {
    "id 0": (in_json("segments_info", id=0), "segment id 0"),
    "id of four bytes": (in_json("segments_info", id=256**3), "segment id 16777216"),
    "float id": (in_json("segments_info", id=300.5), "'id' is 300.5, not a whole number"),
    "id as text": (in_json("segments_info", id="300"), "'id' is '300', not a whole number"),
    "infinite category": (in_json("segments_info", category_id=float("inf")), "'category_id' is inf, not a whole"),
    "the same id twice": (more_segments({"id": 300, "category_id": 3}), "300"),
    "iscrowd 2": (in_json("segments_info", iscrowd=2), "'iscrowd' is 2, not 0 or 1"),
    "iscrowd 1e308": (in_json("segments_info", iscrowd=1e308), "'iscrowd' is 1e+308, not 0 or 1"),
    "iscrowd as text": (in_json("segments_info", iscrowd="0"), "'iscrowd' is '0', not 0 or 1"),
    "area of 0": (in_json("segments_info", area=0), "'area' is 0, not a positive number"),
    "area without end": (in_json("segments_info", area=float("nan")), "'area' is nan, not a positive number"),
    "isthing as text": (in_json("categories", isthing="0"), "'isthing' is '0', not 0 or 1"),
    "no name": (in_json("categories", name=" "), "'name' is ' ', not a name"),
    "a category twice": (in_json("categories", id=9), "9"),
    "a PNG elsewhere": (in_json("annotations", file_name="/etc/p0.png"), "'file_name' is '/etc/p0.png', not the path"),
    "a PNG above": (in_json("annotations", file_name="../x/p0.png"), "'file_name' is '../x/p0.png', not the path"),
    "file_name .": (in_json("annotations", file_name="."), "'file_name' is '.', not the path"),
    "300 letters": (in_json("annotations", file_name=300 * "a"), "not a name that a disk can hold"),
    "a missing PNG": (lambda made: (made.segments / "p0.png").unlink(), "p0.png"),
    "grey PNG of 16 bits": (grey, "p0.png has mode I;16"),
    "an id that the json lacks": (repaint, "77"),
    "an id that the PNG lacks": (more_segments({"id": 78, "category_id": 3, "area": 5}), "78"),
    "annotations of an object": (lambda made: made.edit(lambda d: d.update(annotations={})), "'annotations' is {}"),
    "an image twice": (lambda made: made.edit(lambda d: d["annotations"].append(d["annotations"][0])), " 7 "),
}
# What a reader of other formats cannot return: labels are typed and have no areas; what has no pixel is left out.
NOT_PREPARED = {
    "area of 0", "area without end", "an id that the PNG lacks", "annotations of an object", "300 letters",
    "id as text", "iscrowd as text",
}  # fmt: skip
# Preparation is handed ids and categories as they are, so its message is about what it makes of them.
FLOATS = {"float id", "infinite category", "iscrowd 1e308"}


@pytest.mark.parametrize("consumer", CONSUMERS)
@pytest.mark.parametrize("name", TAKEN)
def test_what_is_taken_gives_everyone_the_same_segments(name: str, consumer, made: TinySet) -> None:
    change, expected = TAKEN[name]
    change(made)
    assert consumer(made) == expected


@pytest.mark.parametrize("consumer", CONSUMERS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_by_everyone(name: str, consumer, made: TinySet) -> None:
    if consumer is prepare and name in NOT_PREPARED:
        return
    change, message = REFUSED[name]
    change(made)
    with pytest.raises(DatasetError) as error:
        consumer(made)
    text = str(error.value)
    assert str(made.annotations.parent) in text  # the json or a PNG
    assert (consumer is prepare and name in FLOATS) or message in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "name", ["/etc/passwd.png", "../other/p0.bmp", "a/../../b", "..", "C:\\p.bmp", "\\p", "a\0", ""]
)
def test_an_image_outside_its_folder(name: str, made: TinySet) -> None:
    """Scoring reads no images."""
    in_json("images", file_name=name)(made)
    for consumer in (train, examine, prepare):
        with pytest.raises(
            DatasetError, match=r"images\[0\].*'file_name' is .*not the path of a file inside its folder"
        ):
            consumer(made)
    assert not (made.annotations.parent / "prepared" / "images").exists()


def test_names_that_only_look_like_it() -> None:
    for name in ("a.png", "town/a.png", "./a.png", "..a/b..png", ".hidden", "12:30.png", "a\\b.png"):
        assert file_name(name) == name


# --- predictions, of which panopticapi reads ids and categories alone -----------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "as it is", "palette PNGs", "RGBA PNGs", "crowd", "whole floats", "ids of images as text", "no area",
        "iscrowd 2", "area of 0", "isthing as text", "no name",
    ],
)  # fmt: skip
def test_predictions_are_scored(name: str, made: TinySet) -> None:
    (TAKEN.get(name) or REFUSED[name])[0](made)
    assert matches(score(sound(made), made.annotations)) == ALL


@pytest.mark.parametrize(
    "name",
    [
        "float id", "id of four bytes", "infinite category", "the same id twice", "a PNG elsewhere", "a PNG above",
        "a missing PNG", "grey PNG of 16 bits", "an id that the json lacks", "an id that the PNG lacks", "300 letters",
    ],
)  # fmt: skip
def test_predictions_are_refused(name: str, made: TinySet) -> None:
    change, message = REFUSED[name]
    change(made)
    with pytest.raises(DatasetError) as error:
        score(sound(made), made.annotations)
    assert str(made.annotations.parent) in str(error.value)
    assert message in str(error.value)


def test_a_prediction_of_id_0_is_a_segment_where_it_is_listed(made: TinySet) -> None:
    """As in panopticapi: the dog painted 0 is found, while 0 that is not listed is void."""

    def black(made: TinySet) -> None:
        ids = read_ids(made.segments / "p0.png")
        Image.fromarray(ids_to_rgb(np.where(ids == 300, 0, np.where(ids == 0, 10, ids)))).save(made.segments / "p0.png")

    black(made)
    in_json("segments_info", id=0)(made)
    assert matches(score(sound(made), made.annotations)) == ALL
    made.edit(lambda d: d["annotations"][0]["segments_info"].pop(0))
    assert matches(score(sound(made), made.annotations)) == ALL - Counter({9: 1})


def test_of_two_predictions_of_an_image_the_last_counts_as_in_panopticapi(made: TinySet, caplog) -> None:
    made.edit(
        lambda d: d["annotations"].append({**d["annotations"][1], "segments_info": [{"id": 1, "category_id": 3}]})
    )
    Image.fromarray(ids_to_rgb(np.where(read_ids(made.segments / "p1.png") == 1, 1, 0))).save(made.segments / "p1.png")
    assert matches(score(sound(made), made.annotations)) == Counter({3: 2, 5: 1, 9: 1})
    assert f"{made.annotations} predicts image 8 twice: the last prediction is scored" in caplog.text


def test_an_area_that_is_not_whole_is_computed_with_as_in_panopticapi(made: TinySet) -> None:
    in_json("segments_info", area=7.5)(made)  # the dog, of 6 pixels: the union is 7.5 + 6 - 6
    dog = score(made.annotations, sound(made)).result.per_class[2]
    assert (dog.tp, dog.sq) == (1, pytest.approx(100 * 6 / 7.5))


# --- writing ---------------------------------------------------------------------------------------------------------


def test_areas_and_boxes() -> None:
    ids = np.array([[0, 5, 5, 9], [0, 5, 0, 9], [9, 0, 0, 0]])
    assert describe(ids, [SegmentLabel(9, 1), SegmentLabel(5, 2, is_crowd=True), SegmentLabel(4, 2)]) == [
        {"id": 9, "category_id": 1, "iscrowd": 0, "area": 3, "bbox": [0, 0, 4, 3]},
        {"id": 5, "category_id": 2, "iscrowd": 1, "area": 3, "bbox": [1, 0, 2, 2]},
    ]


def test_covered_pixels() -> None:
    ids, mask = np.array([[5, 5, 9]]), np.array([[False, True, True]])
    nine, hidden = describe(ids, [SegmentLabel(9, 1, mask=mask), SegmentLabel(7, 1, mask=mask)])
    assert nine == {"id": 9, "category_id": 1, "iscrowd": 0, "area": 2, "bbox": [1, 0, 2, 1], "covered": 1}
    assert (hidden["area"], hidden["covered"]) == (2, 2)


IDS = np.array([[1, 1, 2]])
ONE, TWO = {"id": 1, "category_id": 3}, {"id": 2, "category_id": 5}


@pytest.mark.parametrize(
    ("segments", "png", "message"),
    [
        ([ONE], "a.png", r"a\.png cannot be written: the map holds segment id 2, which segments_info lacks"),
        ([ONE, TWO, {"id": 4, "category_id": 3}], "a.png", "the map has no pixel of segment id 4"),
        ([ONE, TWO, TWO], "a.png", "segment id 2 occurs twice"),
        ([ONE, TWO, {"id": 0, "category_id": 3}], "a.png", "segment id 0 is not in 1..16777215"),
        ([ONE, {**TWO, "category_id": 2.5}], "a.png", r"segments_info\[1\]: 'category_id' is 2.5"),
        ([ONE, TWO], "../a.png", r"'file_name' is '\.\./a\.png', not the path"),
        ([ONE, TWO], "/a.png", "'file_name' is '/a.png', not the path"),
    ],
)
def test_what_could_not_be_read_is_not_written(segments, png: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=message):
        write_annotation(tmp_path / "pngs", 7, png, IDS, segments)
    assert list(tmp_path.rglob("*.png")) == []


def test_a_segment_that_others_hide_altogether_may_be_written(tmp_path: Path) -> None:
    hidden = {"id": 4, "category_id": 3, "area": 2, "covered": 2}
    record = write_annotation(tmp_path, 7, "a.png", IDS, [ONE, TWO, hidden])
    assert read_ids(tmp_path / "a.png").tolist() == IDS.tolist()
    images, categories = [{"id": 7, "file_name": "a.jpg"}], VOCABULARY.categories()
    data = content(tmp_path / "a.json", images, [record], categories)
    (annotation,) = PanopticJson(tmp_path / "a.json", data=data).annotations()
    assert [(s.id, s.covered) for s in annotation.segments] == [(1, 0), (2, 0), (4, 2)]
    with pytest.raises(DatasetError, match=r"a\.json: 'images' has id 7 twice"):
        content(tmp_path / "a.json", [*images, *images], [record], categories)


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(WriteError, match=r"^\S*a\.png cannot be written \(No space left on device\): make room"):
        write_annotation(tmp_path, 7, "a.png", np.zeros((1, 3), np.int32), [])


def test_a_predicted_map_that_contradicts_itself_is_not_written(tmp_path: Path) -> None:
    segments = (NamedSegment(1, 0, True, 0.5, 2, 0.6, name="cat", box=(0, 0, 2, 1)),)
    writer = PredictionWriter(tmp_path, "panoptic")
    writer.add(
        Path("b.png"), np.zeros((1, 3, 3), np.uint8), PanopticResult(torch.tensor([[1, 1, 0]]), segments, VOCABULARY)
    )
    with pytest.raises(DatasetError, match=r"a\.png cannot be written: the map holds segment id 2"):
        writer.add(
            Path("a.png"), np.zeros((1, 3, 3), np.uint8), PanopticResult(torch.tensor(IDS), segments, VOCABULARY)
        )
