"""PanopticQuality on real files: COCO, and the scores that deeplab2 and torchmetrics publish."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pq_reference import Segments, assert_same_counts, counts_of, metric_of, slow_counts

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "panoptic"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"real panoptic files are not at {DATA}")


def read_rgb_ids(path: Path) -> np.ndarray:
    red, green, blue = np.moveaxis(np.asarray(Image.open(path).convert("RGB")).astype(np.int64), -1, 0)
    return red + 256 * green + 65536 * blue


def panopticapi_sample():
    """(ids, segments) of the two images of COCO, and the number of categories."""
    folder = DATA / "panopticapi_sample"
    data = json.loads((folder / "panoptic_examples.json").read_text())
    label = {category["id"]: i for i, category in enumerate(data["categories"])}
    found = []
    for image in data["annotations"]:
        segments = {s["id"]: (label[s["category_id"]], bool(s["iscrowd"])) for s in image["segments_info"]}
        found.append((read_rgb_ids(folder / "panoptic_examples" / image["file_name"]), segments))
    return found, len(label)


def test_coco_against_itself_is_perfect() -> None:
    truths, classes = panopticapi_sample()
    metric = metric_of(*((*truth, *truth) for truth in truths), classes=classes)
    assert metric.compute()["PQ"] == pytest.approx(100)
    # 50 segments of which 3 are crowd.
    assert (metric.tp.sum(), metric.fp.sum(), metric.fn.sum()) == (47, 0, 0)


def test_coco_perturbed_equals_the_slow_reference() -> None:
    truths, classes = panopticapi_sample()
    for truth, segments in truths:
        prediction = np.roll(truth, (3, 9), axis=(0, 1))
        prediction[:, 100:160] = max(segments)
        labels = {i: ((label + (i % 5 == 0)) % classes, False) for i, (label, _) in segments.items()}
        image = (truth, segments, prediction, {i: labels[i] for i in labels if (prediction == i).any()})
        expected = slow_counts(*image)
        assert min(sum(row[k] for row in expected.values()) for k in range(3)) > 0, "the case has no TP, FP or FN"
        assert_same_counts(counts_of(metric_of(image, classes=classes)), expected)


def deeplab_image(gt: str, name: str, classes: dict[str, int], rgb_class: dict[str, int]):
    """Class 0 is ignored there, which is void here; a segment is a pair of class and instance."""
    folder = DATA / "deeplab2_two_channel"
    truth = np.asarray(Image.open(folder / gt).convert("RGBA"))[..., 0].astype(np.int64)
    truth_segments = {int(value): (c, False) for value, c in classes.items() if c != 0}
    truth = np.where(np.isin(truth, list(truth_segments)), truth, 0)
    colours = np.asarray(Image.open(folder / f"{name}_pred_class.png").convert("RGB"))
    label = np.zeros(colours.shape[:2], np.int64)
    for colour, c in rgb_class.items():
        label[(colours == [int(value) for value in colour.split(",")]).all(axis=-1)] = c
    instance = np.asarray(Image.open(folder / f"{name}_pred_instance.png").convert("RGBA"))[..., 0]
    prediction = np.where(label > 0, label * 256 + instance, 0)
    return truth, truth_segments, prediction, {int(i): (int(i) // 256, False) for i in np.unique(prediction) if i}


@pytest.mark.parametrize("case", ["team_only", "three_images"])
def test_published_scores_of_deeplab2(case: str) -> None:
    expected = json.loads((DATA / "deeplab2_two_channel" / "expected.json").read_text())
    classes = {"team_gt_instance.png": expected["team_only"]["gt_instance_to_class"]}
    if case == "three_images":
        classes = {**expected[case]["gt_instance_to_class"], **classes}
    published = expected[case]
    several = [deeplab_image(gt, gt.split("_")[0], c, expected["pred_class_rgb"]) for gt, c in classes.items()]
    metric = metric_of(*several, classes=published["num_classes"])
    scores = metric.compute()
    assert [scores[key] for key in ("PQ", "SQ", "RQ")] == pytest.approx(
        [100 * published[key] for key in ("pq", "sq", "rq")], abs=1e-4
    )
    counted = published["num_classes"] - 1
    means = [int(state.sum()) / counted for state in (metric.tp, metric.fn, metric.fp)]
    assert means == pytest.approx([published["tp_mean"], published["fn_mean"], published["fp_mean"]])


@pytest.mark.parametrize("index", [0, 1])
def test_published_scores_of_torchmetrics(index: int) -> None:
    case = json.loads((DATA / "torchmetrics_published_cases.json").read_text())[index]
    labels = [*case["things"], *case["stuffs"]]

    def segment_ids(grid) -> tuple[np.ndarray, Segments]:
        category, instance = np.moveaxis(np.atleast_3d(np.asarray(grid)).reshape(-1, 1, 2), -1, 0)
        # Instances of stuff are one segment.
        ids = 1 + category * 1000 + np.where(np.isin(category, case["stuffs"]), 0, instance)
        return ids, {int(i): (labels.index((int(i) - 1) // 1000), False) for i in np.unique(ids)}

    metric = metric_of((*segment_ids(case["target"]), *segment_ids(case["preds"])), classes=len(labels))
    assert metric.compute()["PQ"] == pytest.approx(100 * case["expected_pq"], abs=0.005)
