"""What the fuzz has found, each as the smallest input: it is refused in a sentence, or read."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from scripts.fuzz import coco, label_studio, labelme, name_trees, seeds, targets, yolo
from scripts.fuzz.cases import Case
from scripts.fuzz.cvat import XML
from scripts.fuzz.judge import Verdict
from scripts.fuzz.pool import Chunk, Pool


def of_json(content: Any, name: str = "a.json", **arguments: Any) -> Case:
    files = {name: json.dumps(content).encode(), "images/a.png": seeds.photo()}
    return Case(files, arguments)


def of_coco(**changes: Any) -> Case:
    return of_json({**coco.INSTANCES, **changes}, crowd="instances")


def of_labelme(shape: dict[str, Any], **changes: Any) -> Case:
    content = {**labelme.content(seeds.photo(), b""), "shapes": [{"label": "cat", **shape}], **changes}
    return Case({"in/a.json": json.dumps(content).encode(), "in/a.png": seeds.photo()}, {"skip_without_mask": False})


def of_yolo(data: str = yolo.DATA, rows: bytes = yolo.ROWS.encode()) -> Case:
    files = {"labels/train/a.txt": rows, "images/train/a.png": seeds.photo(), "data.yaml": data.encode()}
    return Case(files, {"source": "data.yaml", "skip_without_mask": False})


def of_label_studio(**changes: Any) -> Case:
    tasks = label_studio.tasks()
    tasks[0]["annotations"][0]["result"][0].update(changes)
    return of_json(tasks, skip_without_mask=False)


def of_set(image: bytes) -> Case:
    files = {
        "set.json": json.dumps(seeds.panoptic()).encode(),
        "set/a.png": seeds.ids_png(),
        "v.json": seeds.VOCABULARY,
    }
    return Case({**files, "images/a.png": image})


def of_scores(pred: bytes = seeds.ids_png(), area: int = 16) -> Case:
    truth = seeds.panoptic()
    truth["annotations"][0]["segments_info"][1]["area"] = area
    jsons = {"gt.json": json.dumps(truth).encode(), "pred.json": json.dumps(seeds.panoptic()).encode()}
    return Case({**jsons, "gt/a.png": seeds.ids_png(), "pred/a.png": pred})


def of_spec(spec: Any) -> Case:
    return Case(arguments={"spec": spec})


TRIANGLE = {"shape_type": "polygon", "points": [[0, 0], [4, 0], [4, 4]]}
SHORT = {"id": 9, "image_id": 1, "category_id": 2, "segmentation": {"size": [8, 8], "counts": "X1`0"}}
DEEP_TREE = b"".join(b" " * n + b"x%d:\n" % n for n in range(1500))
FOUND = [
    ("vocabularies", Case({"v.json": b"[" * 5000}), "nested too deeply"),
    ("vocabularies", Case({"v.json": b'["\\ud800"]'}), "U+D800, which cannot be shown"),
    ("vocabularies", Case({"v.json": b'["cat", ""]'}), "v.json: a list of class names has the entry ''"),
    ("vocabularies", Case({"v.txt": b"cat\0"}), "U+0000, which cannot be shown"),
    ("vocabularies", Case({"v.txt": b"9" * 5000 + b":cat"}), "has an id of 5000 digits"),
    ("vocabulary_texts", of_spec("[" + "9" * 5000 + "]"), ""),  # the name of a class
    ("vocabulary_texts", of_spec('["\\ud800"]'), "U+D800"),
    ("vocabulary_texts", of_spec("~nobody-of-this-name/x.txt"), "does not exist"),
    ("vocabulary_texts", of_spec("~\0/x.txt"), "does not exist"),
    ("name_trees", Case({"t.yaml": DEEP_TREE}), "nested deeper than 64 levels"),
    ("name_trees", Case({"t.yaml": b"thing: &a [*a]"}), "has the alias *a in line 1"),
    ("name_trees", Case({"t.yaml": (name_trees.BOMB + "thing: *i\n").encode()}), "has the alias *a"),
    ("options", Case(arguments={"command": "evaluate", "changed": {"tune": "0.1"}}), "tune must have keys"),
    ("options", Case(arguments={"command": "predict", "changed": {"output": {"a": 1}}}), "output must be a folder"),
    ("options", Case(arguments={"command": "evaluate", "changed": {"settings": 3}}), "settings must be names"),
    ("options", Case(arguments={"command": "predict", "changed": {"vocabulary": 3}}), "vocabulary must be a text"),
    ("options", Case(arguments={"command": "predict", "changed": {"device": 10**30}}), "device must be auto"),
    ("settings", Case(arguments={"kind": "setting", "text": "full\0/cls"}), r"no modulation 'full\x00'"),
    ("settings", Case(arguments={"kind": "setting", "text": "x" * 3000 + "/cls"}), "masked_attention, alpha=A"),
    ("coco", of_coco(annotations=[*coco.INSTANCES["annotations"], SHORT]), "run lengths of 56 pixels in all"),
    ("coco", of_coco(categories=[[1]]), "categories[0] of"),
    ("coco", of_coco(categories=[{"id": [1], "name": "a", "supercategory": "none"}]), "'id' is [1], not a whole"),
    ("labelme", of_labelme({"shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": "aaaa"}), "format is unknown"),
    ("labelme", of_labelme(TRIANGLE, imagePath="../../opsnet_canary.png"), "opsnet_canary.png of"),
    ("labelme", of_labelme(TRIANGLE, imagePath="b.png", imageData=base64.b64encode(b"x").decode()), "is unknown"),
    ("yolo", of_yolo(yolo.BOMB + yolo.DATA.replace("cat", "*i")), "has the alias *a"),
    ("yolo", of_yolo("names: {[1]: 2}"), "is not valid YAML"),
    ("yolo", of_yolo(rows=b"\xff"), "is not UTF-8 text"),
    ("cvat", Case({"a.xml": XML.replace("utf-8", "nothing").encode(), "images/a.png": seeds.photo()}), "not an XML"),
    ("label_studio", of_label_studio(id=["a"]), "has an id that is no text"),
    ("panoptic", of_set(seeds.blank(9000)), "is 9000 x 9000, but its segments"),
    ("images", Case({"a.png": seeds.blank(13_400)}, {"as_bytes": False}), "a.png has more than the 178 million pixels"),
    ("images", Case({"a.png": seeds.blank(13_400)}, {"as_bytes": True}), "has more than the 178 million pixels"),
    ("scores", of_scores(pred=seeds.blank(13_400)), "pred/a.png has more than the 178 million pixels"),
    ("scores", of_scores(area=7), "has area 7 in"),
    ("sources", Case(arguments={"text": "http://[ "}), "is no valid address"),
]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> list[Verdict]:
    """The verdict on each case; those of one target are judged in one process."""
    pool, found = Pool(tmp_path_factory.mktemp("fuzz"), 1, 5, 2), dict[int, Verdict]()
    for name in dict.fromkeys(name for name, *_ in FOUND):
        own = [(number, case) for number, (other, case, _) in enumerate(FOUND) if other == name]
        target = targets.load(name)
        planted = targets.Target(name, lambda seed, own=own: own[seed][1], target.run, target.names)  # type: ignore[misc]
        (chunk,) = pool.run([Chunk(planted, 0, len(own))])
        found |= {number: chunk.verdicts[seed] for seed, (number, _) in enumerate(own)}
    return [found[number] for number in range(len(FOUND))]


@pytest.mark.parametrize("number", range(len(FOUND)))
def test_what_was_found_is_refused_in_a_sentence(verdicts: list[Verdict], number: int) -> None:
    verdict = verdicts[number]
    sentence = FOUND[number][2]
    assert verdict.kind == ("refused" if sentence else "accepted") and sentence in verdict.detail, verdict


def test_a_video_with_a_title_that_is_not_utf8_is_read(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    import numpy as np

    from opsnet.prediction.sources import image_source

    path = tmp_path / "v.avi"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "AAAAAAAA"
        stream = container.add_stream("mjpeg", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    content = path.read_bytes()
    assert content.count(b"AAAAAAAA") == 1
    path.write_bytes(content.replace(b"AAAAAAAA", b"\x80AAAAAAA"))
    assert len(image_source(path).read()) == 1
