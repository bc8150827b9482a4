"""score: a pair of files computed by hand, every error message, the command line, COCO's sample."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from opsnet.commands.score import main
from opsnet.evaluation.score import score
from opsnet.utils.errors import DatasetError

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "panoptic" / "panopticapi_sample"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"real panoptic files are not at {DATA}")

BIG = 3 + 256 * 5 + 65536 * 7  # an id that uses all three colours
CATEGORIES = [
    {"id": 4, "name": "cat", "isthing": 1},
    {"id": 9, "name": "[red] grass", "isthing": 0},
    {"id": 11, "name": "sky", "isthing": 0},
]


def write_png(path: Path, ids: list[list[int]]) -> None:
    values = np.array(ids)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.stack([values >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)).save(path)


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two images. Cat: IoU 3/4 in the first, missed in the second. Grass: IoU 1, and 1/2, which is no match."""
    truths = {
        1: ([[BIG, BIG, BIG, 2], [BIG, 2, 2, 2]], [(BIG, 4, 0), (2, 9, 0)]),
        2: ([[1, 1, 2, 2]], [(1, 4, 0), (2, 9, 0)]),
    }
    predictions = {
        1: ([[8, 8, 8, 5], [0, 5, 5, 5]], [(8, 4), (5, 9)]),
        2: ([[0, 0, 6, 0]], [(6, 9)]),
    }
    annotations: dict[str, list] = {"gt": [], "pred": []}
    for image, (ids, rows) in truths.items():
        write_png(tmp_path / "gt" / f"{image}.png", ids)
        segments = [
            {"id": i, "category_id": c, "iscrowd": crowd, "area": int(np.sum(np.equal(ids, i)))} for i, c, crowd in rows
        ]
        annotations["gt"].append({"image_id": image, "file_name": f"{image}.png", "segments_info": segments})
    for image, (ids, rows) in predictions.items():
        write_png(tmp_path / "pred" / f"{image}.png", ids)
        segments = [{"id": i, "category_id": c} for i, c in rows]
        annotations["pred"].append({"image_id": image, "file_name": f"{image}.png", "segments_info": segments})
    (tmp_path / "gt.json").write_text(json.dumps({"categories": CATEGORIES, "annotations": annotations["gt"]}))
    (tmp_path / "pred.json").write_text(json.dumps({"annotations": annotations["pred"]}))
    return tmp_path


# Cat: TP 1 (IoU 3/4), FN 1. Grass: TP 1 (IoU 1), FP 1 and FN 1 (IoU 1/2 is no match). Sky never occurs.
CAT, GRASS = 75 / 1.5, 100 / 2
EXPECTED = {"PQ": (CAT + GRASS) / 2, "PQth": CAT, "PQst": GRASS, "SQ": (75 + 100) / 2, "RQ": (100 / 1.5 + 50) / 2}


def segments_of(data: Any, image: int) -> list[dict[str, Any]]:
    return data["annotations"][image - 1]["segments_info"]


def test_two_images_computed_by_hand(files: Path) -> None:
    answer = score(files / "gt.json", files / "pred.json")
    assert answer.result.as_dict() == pytest.approx(EXPECTED)
    assert answer.images == 2
    assert [(q.tp, q.fp, q.fn) for q in answer.result.per_class] == [(1, 0, 1), (1, 1, 1), (0, 0, 0)]
    assert (answer.result.all.n, answer.result.things.n, answer.result.stuff.n) == (2, 1, 1)


def test_folders_can_be_elsewhere(files: Path) -> None:
    (files / "gt").rename(files / "a")
    (files / "pred").rename(files / "b")
    answer = score(files / "gt.json", files / "pred.json", files / "a", files / "b")
    assert answer.result.as_dict() == pytest.approx(EXPECTED)


def test_crowd_in_the_json_is_ignored(files: Path) -> None:
    edit(files / "gt.json", lambda data: segments_of(data, 2)[0].update(iscrowd=1))
    assert score(files / "gt.json", files / "pred.json").result.per_class[0].fn == 0


def test_areas_may_be_missing(files: Path) -> None:
    edit(files / "gt.json", lambda data: [s.pop("area") for s in segments_of(data, 1)])
    assert score(files / "gt.json", files / "pred.json").result.as_dict() == pytest.approx(EXPECTED)


def test_a_wrong_area_is_used_as_in_panopticapi_with_a_warning(files: Path, caplog: pytest.LogCaptureFixture) -> None:
    edit(files / "gt.json", lambda data: segments_of(data, 1)[0].update(area=5))
    result = score(files / "gt.json", files / "pred.json").result
    # The union is 5 + 3 - 3 instead of 4 + 3 - 3.
    assert result.per_class[0].sq == pytest.approx(100 * 3 / 5)
    assert f"segment {BIG} has area 5 in {files / 'gt.json'} but 4 pixels" in caplog.text


def test_images_that_only_the_prediction_has_are_ignored(files: Path) -> None:
    edit(files / "gt.json", lambda data: data["annotations"].pop())
    assert score(files / "gt.json", files / "pred.json").images == 1


def test_orders_may_differ_and_ids_may_be_names(files: Path) -> None:
    edit(files / "pred.json", lambda data: data["annotations"].reverse())
    assert score(files / "gt.json", files / "pred.json").result.as_dict() == pytest.approx(EXPECTED)
    for name in ("gt.json", "pred.json"):
        edit(files / name, lambda data: [a.update(image_id=f"Köln {a['image_id']}") for a in data["annotations"]])
    assert score(files / "gt.json", files / "pred.json").result.as_dict() == pytest.approx(EXPECTED)


def images(*names: str) -> list[dict[str, Any]]:
    return [{"id": i, "file_name": name} for i, name in enumerate(names, start=1)]


def test_ids_that_belong_to_other_images_are_refused(files: Path) -> None:
    """Both have the ids 1 and 2, so panopticapi scores each image against another one."""
    edit(files / "gt.json", lambda data: data.update(images=images("a.jpg", "b.jpg")))
    edit(files / "pred.json", lambda data: data.update(images=images("b.jpg", "a.jpg")))
    with pytest.raises(DatasetError, match=r"image 1 is b in .*pred\.json, but a in .*gt\.json: .* ids_from="):
        score(files / "gt.json", files / "pred.json")


def test_other_names_of_the_same_ids_are_told(files: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They may be synonyms, or other classes, which would be scored as if they were right."""
    categories = json.loads((files / "gt.json").read_text())["categories"]
    edit(
        files / "pred.json", lambda data: data.update(categories=[{**c, "name": c["name"].upper()} for c in categories])
    )
    before = score(files / "gt.json", files / "pred.json").result
    assert not caplog.messages
    edit(files / "pred.json", lambda data: data["categories"][0].update(name="dog"))
    assert score(files / "gt.json", files / "pred.json").result == before
    assert "1 categories have other names in" in caplog.text
    assert "'dog' for 'cat'. Classes are compared by id" in caplog.text


@pytest.mark.parametrize("names", [("x/a.png", "b.jpg"), ("C:\\x\\a.jpg", "b.webp"), ("a.jpg",), (7, "b.jpg")])
def test_folders_and_suffixes_of_images_may_differ(names, files: Path) -> None:
    """So may a list that panopticapi would not read."""
    edit(files / "gt.json", lambda data: data.update(images=images("a.jpg", "b.jpg")))
    edit(files / "pred.json", lambda data: data.update(images=images(*names)))
    assert score(files / "gt.json", files / "pred.json").result.as_dict() == pytest.approx(EXPECTED)


def test_main_prints_only_json(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--gt", str(files / "gt.json"), "--pred", str(files / "pred.json"), "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert {key: answer[key] for key in EXPECTED} == pytest.approx(EXPECTED)
    assert answer["stuff"] == pytest.approx({"pq": GRASS, "sq": 100, "rq": 50, "n": 1})
    cat = answer["per_class"][0]
    assert (cat["id"], cat["name"], cat["is_thing"], cat["tp"], cat["fn"]) == (4, "cat", True, 1, 1)


def test_main_prints_tables(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--gt", str(files / "gt.json"), "--pred", str(files / "pred.json")]
    main(arguments)
    lines = capsys.readouterr().out.splitlines()
    cells = {words[0]: words[1:] for words in (line.split() for line in lines) if len(words) > 3}
    assert cells["All"] == ["50.00", "87.50", "58.33", "2"]
    assert cells["Stuff"] == ["50.00", "100.00", "50.00", "1"]
    assert "cat" not in "".join(lines)
    main([*arguments, "--per-class"])
    classes = capsys.readouterr().out
    assert "cat" in classes and "[red] grass" in classes and "sky" not in classes


def test_boundary_pq_is_printed_beside_pq(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The images are so small that every pixel is on a boundary, so both are the same."""
    arguments = ["--gt", str(files / "gt.json"), "--pred", str(files / "pred.json"), "--boundary"]
    main(arguments)
    lines = capsys.readouterr().out.splitlines()
    rows = [words[1:] for words in (line.split() for line in lines) if words[:1] == ["All"]]
    assert rows == [["50.00", "87.50", "58.33", "2"]] * 2
    assert "BPQ" in "".join(lines)
    main([*arguments, "--json"])
    assert json.loads(capsys.readouterr().out)["boundary"] == pytest.approx(EXPECTED)


def of_gt(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "gt.json", change)


def of_pred(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "pred.json", change)


def many_segments(data: Any) -> None:
    segments_of(data, 1).extend({"id": i, "category_id": 4} for i in range(10_000, 20_000))


ERRORS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no gt json": (lambda f: (f / "gt.json").unlink(), "{f}/gt.json does not exist: check the path"),
    "json is a folder": (
        lambda f: ((f / "gt.json").unlink(), (f / "gt.json").mkdir()),
        "{f}/gt.json is not a file: name one",
    ),
    "no json": (lambda f: (f / "pred.json").write_text('{"a": '), "{f}/pred.json is not valid json ("),
    "not utf-8": (lambda f: (f / "pred.json").write_bytes(b"\xff\xfe"), "{f}/pred.json is not UTF-8 text ("),
    "json of a list": (lambda f: (f / "pred.json").write_text("[]"), "{f}/pred.json holds a list, not COCO's"),
    "no folder": (
        lambda f: shutil.rmtree(f / "pred"),
        "the folder {f}/pred with the PNGs of {f}/pred.json does not exist: give it by --pred-dir",
    ),
    "no categories": (of_gt(lambda d: d.pop("categories")), "{f}/gt.json: 'categories' is missing: add it"),
    "category twice": (of_gt(lambda d: d["categories"][1].update(id=4)), "{f}/gt.json: 'categories' has id 4 twice"),
    "category without isthing": (
        of_gt(lambda d: d["categories"][1].pop("isthing")),
        "{f}/gt.json: categories[1]: 'isthing' is missing: add it",
    ),
    "no annotations": (of_pred(lambda d: d.pop("annotations")), "{f}/pred.json: 'annotations' is missing: add it"),
    "empty annotations": (of_gt(lambda d: d["annotations"].clear()), "{f}/gt.json has no annotations: give"),
    "annotations of a wrong kind": (
        of_gt(lambda d: d.update(annotations=3)),
        "{f}/gt.json: 'annotations' is 3, not a list: correct it",
    ),
    "annotation of a wrong kind": (
        of_gt(lambda d: d["annotations"].insert(0, 3)),
        "{f}/gt.json: annotations[0]: 3 is not an object with 'image_id'",
    ),
    "no file name": (
        of_pred(lambda d: d["annotations"][0].pop("file_name")),
        "{f}/pred.json: annotations[0] (image 1): 'file_name' is missing",
    ),
    "file name of a wrong kind": (
        of_pred(lambda d: d["annotations"][0].update(file_name=None)),
        "{f}/pred.json: annotations[0] (image 1): 'file_name' is None, not the path of a file",
    ),
    "image twice": (
        of_gt(lambda d: d["annotations"].append(d["annotations"][1])),
        "{f}/gt.json: annotations[2] (image 2): annotates image 2 twice: remove one of the two",
    ),
    "image not predicted": (
        of_pred(lambda d: d["annotations"].pop()),
        "{f}/pred.json has no annotation for image 2 of {f}/gt.json: predict that image too",
    ),
    "unknown category": (
        of_pred(lambda d: segments_of(d, 1)[0].update(category_id=5)),
        "{f}/pred.json: image 1, segment 8 has unknown category_id 5: use",
    ),
    "unknown category in gt": (
        of_gt(lambda d: segments_of(d, 2)[1].update(category_id=5)),
        "{f}/gt.json: image 2, segment 2 has unknown category_id 5",
    ),
    "no category": (
        of_pred(lambda d: segments_of(d, 1)[0].pop("category_id")),
        "{f}/pred.json: annotations[0] (image 1): segments_info[0]: 'category_id' is missing",
    ),
    "id of a wrong kind": (
        of_pred(lambda d: segments_of(d, 1)[1].update(id=2.5)),
        "{f}/pred.json: annotations[0] (image 1): segments_info[1]: 'id' is 2.5, not a whole number: correct it",
    ),
    "huge id": (
        of_pred(lambda d: segments_of(d, 1)[1].update(id=10**400)),
        "{f}/pred.json: annotations[0] (image 1): segments_info[1]: 'id' is 1000000000",
    ),
    "area of 0": (
        of_gt(lambda d: segments_of(d, 1)[1].update(area=0)),
        "{f}/gt.json: annotations[0] (image 1): segments_info[1]: 'area' is 0, not a positive number of pixels",
    ),
    "segment twice": (
        of_pred(lambda d: segments_of(d, 1).append({"id": 5, "category_id": 4})),
        "{f}/pred.json: annotations[0] (image 1): segment id 5 occurs twice: give each segment its own id",
    ),
    "true segment of id 0": (
        of_gt(lambda d: segments_of(d, 1).append({"id": 0, "category_id": 4})),
        "{f}/gt.json: annotations[0] (image 1): segment id 0 is not in 1..16777215 (0 is void)",
    ),
    "more pairs than memory holds": (
        lambda f: [of_gt(many_segments)(f), of_pred(many_segments)(f)],
        "image 1 has 10,002 ground-truth and 10,002 predicted segments, more pairs than fit into memory: merge or drop",
    ),
    "segment only in the json": (
        of_pred(lambda d: segments_of(d, 2).append({"id": 77, "category_id": 4})),
        "segment 77 of image 2 is in {f}/pred.json but not in {f}/pred/2.png: drop it",
    ),
    "segment only in the png": (
        of_pred(lambda d: segments_of(d, 2).pop()),
        "segment 6 of image 2 is in {f}/pred/2.png but not in {f}/pred.json: list it",
    ),
    "gt segment only in the json": (
        of_gt(lambda d: segments_of(d, 2).append({"id": 77, "category_id": 4, "iscrowd": 0, "area": 1})),
        "segment 77 of image 2 is in {f}/gt.json but not in {f}/gt/2.png: drop it",
    ),
    "gt segment only in the png": (
        of_gt(lambda d: segments_of(d, 1).pop(0)),
        f"segment {BIG} of image 1 is in {{f}}/gt/1.png but not in {{f}}/gt.json: list it",
    ),
    "no png": (
        lambda f: (f / "pred/2.png").unlink(),
        "{f}/pred/2.png does not exist: check file_name",
    ),
    "not an image": (
        lambda f: (f / "pred/2.png").write_text("hello"),
        "{f}/pred/2.png cannot be read as an image",
    ),
    "truncated image": (
        lambda f: (f / "gt/1.png").write_bytes((f / "gt/1.png").read_bytes()[:50]),
        "{f}/gt/1.png cannot be read as an image",
    ),
    "grey png": (
        lambda f: Image.fromarray(np.zeros((1, 4), np.uint8)).save(f / "pred/2.png"),
        "{f}/pred/2.png has mode L: save segment ids as an RGB PNG",
    ),
    "another size": (
        lambda f: write_png(f / "pred" / "2.png", [[0, 0, 6], [0, 0, 6]]),
        "{f}/pred/2.png is 3 x 2 pixels but {f}/gt/2.png is 4 x 1 pixels (image 2): write predictions at the size",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_one_sentence(name: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, message = ERRORS[name]
    spoil(files)
    with pytest.raises(SystemExit) as end:
        main(["--gt", str(files / "gt.json"), "--pred", str(files / "pred.json"), "--json"])
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: " + message.replace("{f}", str(files)))
    assert printed.err.count("\n") == 1


def test_score_raises_what_main_prints(files: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere.json does not exist"):
        score(files / "gt.json", files / "nowhere.json")


def test_command_line_needs_no_torch(files: Path) -> None:
    """In a separate process: checks the exit code, and that torch is not imported (it takes seconds to load)."""
    program = "import sys, opsnet.score as s; code = s.main(); sys.exit(7 if 'torch' in sys.modules else code)"
    arguments = ["--gt", str(files / "gt.json"), "--pred", str(files / "pred.json"), "--json"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["PQ"] == pytest.approx(EXPECTED["PQ"])


@needs_data
def test_coco_against_itself_is_perfect(caplog: pytest.LogCaptureFixture) -> None:
    listing = DATA / "panoptic_examples.json"
    result = score(listing, listing).result
    assert result.as_dict() == pytest.approx(dict.fromkeys(("PQ", "PQth", "PQst", "SQ", "RQ"), 100))
    assert sum(quality.tp for quality in result.per_class) == 47
    assert caplog.text == "", "areas of COCO's json are those of its PNGs"


@needs_data
def test_coco_with_one_segment_of_a_wrong_class(tmp_path: Path) -> None:
    """Every number follows from 47 perfect masks, one of which has the wrong class."""
    listing, folder = DATA / "panoptic_examples.json", DATA / "panoptic_examples"
    truth = json.loads(listing.read_text())
    labels = [s["category_id"] for a in truth["annotations"] for s in a["segments_info"] if not s["iscrowd"]]
    misnamed = next(s for s in truth["annotations"][0]["segments_info"] if not s["iscrowd"])
    old, new = misnamed["category_id"], next(c for c in sorted(labels) if c != misnamed["category_id"])
    misnamed["category_id"] = new
    (tmp_path / "pred.json").write_text(json.dumps(truth))
    answer = score(listing, tmp_path / "pred.json", pred_dir=folder)
    expected = dict.fromkeys(labels, 100.0)
    expected[old] = 100 * (labels.count(old) - 1) / (labels.count(old) - 0.5)
    expected[new] = 100 * labels.count(new) / (labels.count(new) + 0.5)
    got = {c.id: q.pq for c, q in zip(answer.categories, answer.result.per_class) if q.occurs}
    assert got == pytest.approx(expected)
    assert answer.result.as_dict()["PQ"] == pytest.approx(sum(expected.values()) / len(expected))


DEEPLAB = DATA.parent / "deeplab2_two_channel"


@pytest.mark.skipif(not DEEPLAB.is_dir(), reason=f"deeplab2's test images are not at {DEEPLAB}")
def test_deeplabs_pair_scores_as_published_with_a_segment_of_id_0(tmp_path: Path) -> None:
    """Its prediction numbers segments from 0, ignored ones first; panopticapi scores id 0 like any other."""
    expected = json.loads((DEEPLAB / "expected.json").read_text())
    case = expected["team_only"]
    truth = np.asarray(Image.open(DEEPLAB / case["gt"]))[..., 0].astype(np.int64)
    colours = np.asarray(Image.open(DEEPLAB / case["pred_class"]).convert("RGB"))
    classes = np.zeros(truth.shape, np.int64)
    for colour, label in expected["pred_class_rgb"].items():
        classes[(colours == [int(value) for value in colour.split(",")]).all(-1)] = label
    pairs = classes * 256 + np.where(classes > 0, np.asarray(Image.open(DEEPLAB / case["pred_instance"]))[..., 0], 0)
    values, prediction = np.unique(pairs, return_inverse=True)
    truths = [{"id": int(i), "category_id": c} for i, c in case["gt_instance_to_class"].items() if c]
    predictions = [{"id": i, "category_id": value // 256} for i, value in enumerate(values.tolist())]
    assert predictions[0] == {"id": 0, "category_id": 0}
    categories = [{"id": i, "name": f"class {i}", "isthing": 1} for i in range(case["num_classes"])]
    for name, ids, segments in (("gt", truth, truths), ("pred", prediction.reshape(truth.shape), predictions)):
        write_png(tmp_path / name / "team.png", ids.tolist())
        annotations = [{"image_id": 1, "file_name": "team.png", "segments_info": segments}]
        (tmp_path / f"{name}.json").write_text(json.dumps({"categories": categories, "annotations": annotations}))
    result = score(tmp_path / "gt.json", tmp_path / "pred.json").result.as_dict()
    assert [result[key] for key in ("PQ", "SQ", "RQ")] == pytest.approx(
        [100 * case[key] for key in ("pq", "sq", "rq")], abs=1e-4
    )


def test_more_segments_than_fit_into_memory_are_refused_before_they_are_counted(files: Path) -> None:
    """6,400 segments on each side: a table of 41 million pairs; a million on each side would be 7 TiB."""
    ids = np.arange(1, 6401).reshape(80, 80)
    segments = [{"id": i, "category_id": 9, "iscrowd": 0} for i in ids.ravel().tolist()]
    for side in ("gt", "pred"):
        write_png(files / side / "1.png", ids.tolist())
        edit(files / f"{side}.json", lambda data: data["annotations"][0].update(segments_info=segments))
    with pytest.raises(
        DatasetError, match="6,400 ground-truth and 6,400 predicted segments, more pairs than fit into mem"
    ):
        score(files / "gt.json", files / "pred.json")
