"""Results, compared with supervision's, pandas', pycocotools' and Pillow's own reading of them."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from test_polygons import filled

from opsnet.data.panoptic_png import decode_ids
from opsnet.prediction.carriers import NamedSegment, NameScore, PanopticResult
from opsnet.prediction.naming import boxes_of
from opsnet.prediction.saving import save_results
from opsnet.prediction.task_maps import for_task
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Concept, Vocabulary

VOCABULARY = Vocabulary("v", (Concept(7, "cat", True, ("kitty",)), Concept(300, "sky", False), Concept(9, "dot", True)))
LABELS = {1: 0, 2: 1, 3: 0, 4: 2, 5: 2}


@pytest.fixture
def result() -> PanopticResult:
    """Two cats, one with a hole in which there is a dot; a sky in two parts; a dot of one pixel in a corner; void."""
    ids = torch.zeros(40, 60, dtype=torch.int64)
    ids[:12] = 2
    ids[36:38, 50:60] = 2
    ids[15:35, 5:30] = 1
    ids[20:28, 10:20] = 0
    ids[22:24, 12:14] = 4
    yy, xx = torch.meshgrid(torch.arange(40), torch.arange(60), indexing="ij")
    ids[(yy - 24) ** 2 + (xx - 45) ** 2 < 60] = 3
    ids[39, 0] = 5
    return result_of(ids, LABELS)


def result_of(ids: torch.Tensor, labels: dict[int, int]) -> PanopticResult:
    boxes = boxes_of(ids, len(labels))
    segments = tuple(
        NamedSegment(
            i, label, VOCABULARY.is_thing[label], 0.9 - i / 10, int((ids == i).sum()), 0.8, box=boxes[i - 1],
            name=VOCABULARY.names[label], top=(NameScore(label, VOCABULARY.ids[label], VOCABULARY.names[label], 0.7),),
        )
        for i, label in labels.items()
    )  # fmt: skip
    image = np.random.default_rng(0).integers(0, 255, (*ids.shape, 3), dtype=np.uint8)
    return PanopticResult(ids, segments, VOCABULARY, image=image, file_name="photo 1.jpg")


@pytest.fixture
def empty() -> PanopticResult:
    return PanopticResult(torch.zeros(4, 6, dtype=torch.int64), (), VOCABULARY, image=np.zeros((4, 6, 3), np.uint8))


# --- looks ------------------------------------------------------------------------------------------------------------


def test_a_result_prints_in_a_line(result, empty) -> None:
    assert (
        repr(result)
        == "PanopticResult(60 x 40 (width x height), 5 segments: sky 0.70, cat 0.80, cat 0.60, dot 0.50, dot 0.40)"
    )
    assert repr(empty) == "PanopticResult(6 x 4 (width x height), 0 segments)"
    more = replace(result, segments=result.segments * 2)
    assert repr(more).endswith("cat 0.60, ...)") and "10 segments" in repr(more)
    long = replace(result, segments=(replace(result.segments[0], name="x" * 500),))
    assert repr(long) == f"PanopticResult(60 x 40 (width x height), 1 segment: {'x' * 30} 0.80)"


def test_notebooks_show_the_overlay(result) -> None:
    shown = Image.open(io.BytesIO(result._repr_png_()))
    assert np.array_equal(np.asarray(shown), np.asarray(result.plot()))
    large = result_of(torch.ones(30, 3000, dtype=torch.int64), {1: 0})
    assert Image.open(io.BytesIO(large._repr_png_())).size == (1280, 13)
    assert replace(result, image=None)._repr_png_() is None


def test_a_class_has_the_same_colour_in_every_image(result) -> None:
    """Whatever else is in the image, and however many segments."""

    def colours(shown: PanopticResult) -> dict[str, tuple[int, ...]]:
        plain = np.asarray(shown.plot(np.zeros((*shown.ids.shape, 3), np.uint8), scale=1))
        fills = [np.unique(plain[mask], axis=0, return_counts=True) for mask in shown.masks.numpy()]
        found = [(s.name, tuple(c[n.argmax()].tolist())) for s, (c, n) in zip(shown.segments, fills, strict=True)]
        return dict(reversed(found))  # of a class, the first instance; further ones are shades of its colour

    ids = torch.ones(200, 300, dtype=torch.int64)
    ids[:, 150:] = 2
    seen = colours(result_of(ids, {1: 0, 2: 1}))
    turned = colours(result_of(ids, {1: 1, 2: 2}))
    crowded = colours(result_of((torch.arange(300) // 50 + 1).expand(200, 300), dict.fromkeys(range(1, 7), 1)))
    assert seen["sky"] == turned["sky"] == crowded["sky"]
    assert len({seen["sky"], seen["cat"], turned["dot"]}) == 3


def test_plot_takes_the_image_of_a_result_that_has_none(result) -> None:
    bare = replace(result, image=None)
    assert np.array_equal(np.asarray(bare.plot(result.image)), np.asarray(result.plot()))
    assert result.plot(scale=2).size == (120, 80)
    with pytest.raises(InputError, match="this result has no image: give it as `image`"):
        bare.plot()
    with pytest.raises(InputError, match=r"image is 6 x 4 and the map 60 x 40 \(width x height\): give its own"):
        bare.plot(np.zeros((4, 6, 3), np.uint8))


# --- arrays -----------------------------------------------------------------------------------------------------------


def test_masks_and_boxes_are_those_of_supervision(result, empty) -> None:
    from supervision import mask_to_xyxy

    masks = result.masks.numpy()
    assert (masks.shape, masks.dtype) == ((5, 40, 60), bool)
    assert np.array_equal((masks * np.arange(1, 6)[:, None, None]).sum(0), result.ids)
    assert np.array_equal(result.boxes, mask_to_xyxy(masks, coordinate_convention="exclusive"))
    assert result.boxes[4].tolist() == [0, 39, 1, 40]
    assert (empty.masks.shape, empty.boxes.shape) == ((0, 4, 6), (0, 4))
    assert (empty.masks.dtype, empty.boxes.dtype) == (torch.bool, torch.int64)


def test_supervision_reads_and_draws_it(result) -> None:
    import supervision

    found = result.to_supervision()
    assert isinstance(found, supervision.Detections)
    assert found.area.tolist() == [s.area for s in result.segments]
    assert found.box_area.tolist() == [s.box[2] * s.box[3] for s in result.segments]
    assert found.class_id.tolist() == [0, 1, 0, 2, 2]
    assert found["class_name"].tolist() == ["cat", "sky", "cat", "dot", "dot"]
    assert found.confidence.tolist() == pytest.approx([s.score for s in result.segments])
    things = found[found["is_thing"]]
    assert len(things) == 4 and np.array_equal(things.mask, result.masks[[0, 2, 3, 4]])
    scene = np.full((40, 60, 3), 255, np.uint8)
    drawn = supervision.MaskAnnotator(opacity=1).annotate(scene.copy(), found)
    assert np.array_equal((drawn != 255).any(-1), result.ids > 0)
    boxed = supervision.BoxAnnotator(thickness=1).annotate(scene.copy(), found)
    labelled = supervision.LabelAnnotator().annotate(scene.copy(), found)
    assert (boxed != 255).any() and (labelled != 255).any()


def test_supervision_with_nothing(empty) -> None:
    import supervision

    found = empty.to_supervision()
    assert len(found) == 0 and found["class_name"].shape == (0,)
    scene = np.zeros((4, 6, 3), np.uint8)
    assert not supervision.MaskAnnotator().annotate(scene, found).any()
    assert len(supervision.Detections.merge([found, found])) == 0


def test_without_supervision_the_extra_is_named(result, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(InputError, match=r"to_supervision\(\) needs supervision: pip install '\.\[supervision\]'"):
        result.to_supervision()


# --- COCO -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def coco(result, tmp_path) -> COCO:
    (tmp_path / "a.json").write_text(json.dumps(result.to_coco(image_id=42, first_id=100)))
    return COCO(tmp_path / "a.json")


def test_pycocotools_reads_it(coco, result) -> None:
    assert coco.loadImgs(42) == [{"id": 42, "file_name": "photo 1.jpg", "height": 40, "width": 60}]
    assert {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())} == {7: "cat", 300: "sky", 9: "dot"}
    annotations = coco.loadAnns(coco.getAnnIds(42))
    assert [a["id"] for a in annotations] == [100, 101, 102, 103, 104]
    for annotation, mask, segment in zip(annotations, result.masks.numpy(), result.segments, strict=True):
        assert np.array_equal(coco.annToMask(annotation), mask)
        assert coco_masks.area(annotation["segmentation"]) == annotation["area"] == segment.area
        assert coco_masks.toBbox(annotation["segmentation"]).tolist() == annotation["bbox"]
        assert annotation["category_id"] == VOCABULARY.ids[segment.label]
        assert annotation["score"] == pytest.approx(segment.score)


def test_the_annotations_are_results_too(coco, result) -> None:
    from pycocotools.cocoeval import COCOeval

    found = coco.loadRes(result.to_coco(image_id=42)["annotations"])
    evaluation = COCOeval(coco, found, "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


def test_the_panoptic_form(result, empty) -> None:
    record, png = result.to_coco_panoptic(image_id=42)
    assert (record["image_id"], record["file_name"]) == (42, "photo 1.png")
    assert json.loads(json.dumps(record)) == record
    ids = decode_ids(png)
    assert np.array_equal(ids, result.ids)
    for entry in record["segments_info"]:
        assert entry["area"] == (ids == entry["id"]).sum()
    assert empty.to_coco_panoptic()[0]["segments_info"] == []


# --- tables and polygons ----------------------------------------------------------------------------------------------


def test_pandas_has_a_row_per_segment(result, empty, tmp_path) -> None:
    table = result.to_pandas()
    assert list(table["name"]) == ["cat", "sky", "cat", "dot", "dot"]
    assert table.groupby("name")["area"].sum().to_dict() == {
        name: sum(s.area for s in result.segments if s.name == name) for name in ("cat", "sky", "dot")
    }
    assert table["score"].dtype == float and (table["score"] > 0.55).sum() == 3
    result.save(tmp_path)
    written = pandas.read_csv(tmp_path / "segments.csv", keep_default_na=False)
    pandas.testing.assert_frame_equal(written, table, check_exact=False, rtol=0, atol=1e-4)
    assert list(empty.to_pandas().columns) == list(table.columns) and len(empty.to_pandas()) == 0


def test_the_polygons_of_a_geojson_fill_to_the_masks(result, empty) -> None:
    found = json.loads(json.dumps(result.to_geojson()))
    assert found["type"] == "FeatureCollection"
    kinds = [feature["geometry"]["type"] for feature in found["features"]]
    assert kinds == ["Polygon", "MultiPolygon", "Polygon", "Polygon", "Polygon"]
    assert len(found["features"][0]["geometry"]["coordinates"]) == 2  # the hole around the dot
    for feature, segment, mask in zip(found["features"], result.segments, result.masks.numpy(), strict=True):
        parts = feature["geometry"]["coordinates"]
        assert np.array_equal(
            filled(parts if feature["geometry"]["type"] == "MultiPolygon" else [parts], (40, 60)), mask
        )
        assert feature["id"] == segment.id
        assert feature["properties"]["name"] == segment.name
        assert feature["properties"]["category_id"] == VOCABULARY.ids[segment.label]
    assert found["features"][4]["geometry"]["coordinates"] == [[[1, 39], [1, 40], [0, 40], [0, 39], [1, 39]]]
    assert empty.to_geojson() == {"type": "FeatureCollection", "features": []}


# --- files ------------------------------------------------------------------------------------------------------------


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_save_writes_the_files_of_the_command(result, tmp_path) -> None:
    assert result.save(tmp_path / "out") == tmp_path / "out"
    assert files(tmp_path / "out") == {"photo 1_overlay.png", "panoptic/photo 1.png", "panoptic.json", "segments.csv"}
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "photo 1_overlay.png")), np.asarray(result.plot()))
    result.save(str(tmp_path / "out"))  # again, as a notebook's cell does
    with (tmp_path / "out" / "segments.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 5
    for task, name in (("semantic", "semantic.json"), ("instance", "instances.json")):
        for_task(result, task).save(tmp_path / task)
        assert name in files(tmp_path / task)


def test_a_second_image_does_not_replace_the_first(result, empty, tmp_path) -> None:
    result.save(tmp_path)
    with pytest.raises(InputError, match=r"holds the result of photo 1\.jpg.*opsnet\.save_results\(results, folder\)"):
        replace(result, file_name="other.jpg").save(tmp_path)
    empty.save(tmp_path / "b")  # in no row of the table
    with pytest.raises(InputError, match=r"holds the result of image\.png"):
        result.save(tmp_path / "b")
    assert save_results(iter([result, empty]), tmp_path / "c") == tmp_path / "c"
    images = json.loads((tmp_path / "c" / "panoptic.json").read_text())["images"]
    assert [image["file_name"] for image in images] == ["photo 1.jpg", "image.png"]


def test_what_cannot_be_saved(result, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"folder .*file is a file: give a folder"):
        result.save(tmp_path / "file")
    with pytest.raises(InputError, match="folder must be the path of a folder, got None"):
        result.save(None)
    with pytest.raises(InputError, match="this result has no image"):
        replace(result, image=None).save(tmp_path / "a")
    with pytest.raises(InputError, match="tasks panoptic and semantic: use a folder per task"):
        save_results([result, for_task(result, "semantic")], tmp_path / "d")
    assert "panoptic.json" in files(tmp_path / "d")  # what was written before can be used
