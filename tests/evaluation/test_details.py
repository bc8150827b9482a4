"""AP, oracles, classes and confusions of an image whose results are known."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest
import torch

from opsnet.evaluation.details import DetailOptions, Details, ImageEvaluation
from opsnet.evaluation.scored_image import ImageMasks, score_image
from opsnet.metrics.federated import FederatedImage
from opsnet.metrics.image_overlaps import image_overlaps
from opsnet.metrics.instances import instances_from_map
from opsnet.metrics.panoptic_averages import summarise
from opsnet.metrics.panoptic_quality import count_image
from opsnet.metrics.semantic import PROPOSALS, count_semantic, summarise_semantic
from opsnet.panoptic.mask_filtering import Filtered, MaskFiltering
from opsnet.structures import GroundTruth, PanopticMap, Segment, TextBank

BANK = TextBank("three", ("cat", "grass", "dog"), torch.tensor([True, False, True]), torch.eye(3))
TRUE = (0, 1, 2)  # classes of the three ground-truth segments


def details_of(labels: tuple[int, ...], kind: str = "cls_iou", **options: bool):
    """Details of an image of 8 x 12 with correct masks and the given labels, and its scores."""
    ids = torch.arange(1, 4).repeat_interleave(4)[None].expand(8, 12).contiguous()
    truth = GroundTruth(ids, tuple(Segment(k + 1, c, c != 1) for k, c in enumerate(TRUE)))
    masks = ImageMasks(
        40.0 * (ids == ids.unique()[:, None, None]) - 20, torch.full((3,), 0.9), (8, 12), (8, 12), (8, 12)
    )
    logits, no_object = torch.full((3, 3), -20.0), torch.zeros(3)
    logits[torch.arange(3), torch.tensor(labels)] = 20.0
    scores = torch.full((1, 3), 0.9)
    rows = Filtered(scores, torch.tensor([labels]), torch.ones(1, 3, dtype=torch.bool), scores)
    (scored,) = score_image(masks, truth, rows, with_map=[False], is_thing=BANK.is_thing.tolist(), overlaps=[0.8])
    details = Details(BANK, kind, 0.8, DetailOptions(**options))
    details.add(ImageEvaluation(masks, Filtered(*(r[0] for r in rows)), logits, no_object, scored.overlaps, truth))
    return details, scored


@pytest.mark.parametrize("kind", ["cls", "iou", "cls_iou"])
def test_ground_truth_masks_with_ground_truth_names_score_100(kind: str) -> None:
    metrics = details_of(TRUE, kind, instances=True, oracles=True)[0].metrics()
    assert {key: metrics[key] for key in ("AP", "AP50", "AP75")} == pytest.approx(
        {"AP": 100.0, "AP50": 100.0, "AP75": 100.0}
    )
    assert {key: v for key, v in metrics.items() if key.endswith("/PQ")} == {
        f"oracle/{name}/PQ": 100.0 for name in ("names", "filter", "masks", "names+filter", "masks+names")
    }


def test_the_oracle_of_names_corrects_a_wrong_name() -> None:
    """The dog is labelled cat: PQ of the cat 1 / (1 + 1/2), of the dog 0."""
    metrics = details_of((0, 1, 0), instances=True, oracles=True)[0].metrics()
    assert metrics["oracle/masks/PQ"] == pytest.approx(100 * (2 / 3 + 1 + 0) / 3)
    assert metrics["oracle/names/PQ"] == 100.0
    assert metrics["AP50"] < 100


def test_only_requested_details_are_computed() -> None:
    assert details_of(TRUE)[0].metrics() == {}
    precision = {f"{name}{ranking}" for name in ("AP", "AP50", "AP75") for ranking in ("", "_proposals")}
    assert set(details_of(TRUE, instances=True)[0].metrics()) == precision
    pixels = {f"{name}_proposals" for name in ("mIoU", "fwIoU", "mACC", "pACC", "mIoU_occurring")}
    assert set(details_of(TRUE, semantic=True)[0].metrics()) == pixels


def image_of(logits, no_object, iou, masks) -> ImageEvaluation:
    """An image of 1 x 4 pixels: two of a cat and two of a dog."""
    truth = GroundTruth(torch.tensor([[1, 1, 2, 2]]), (Segment(1, 0, True), Segment(2, 2, True)))
    images = ImageMasks(torch.tensor(masks).view(-1, 1, 4), torch.tensor(iou), (1, 4), (1, 4), (1, 4))
    logits, no_object = torch.tensor(logits).log(), torch.tensor(no_object).log()
    row = MaskFiltering(threshold=0)(logits, no_object, images.iou)
    only = Filtered(*(values[None] for values in row))
    (scored,) = score_image(images, truth, only, with_map=[False], is_thing=BANK.is_thing.tolist(), overlaps=[0.8])
    return ImageEvaluation(images, row, logits, no_object, scored.overlaps, truth)


def test_the_semantic_map_from_proposals_is_not_the_merged_one() -> None:
    """Two weak dogs outweigh a strong cat on all pixels, but the merge gives them to the best mask."""
    names, masks = [[0.6, 0.1, 0.3], [0.01, 0.01, 0.5], [0.01, 0.01, 0.5]], [[9.0] * 4] * 3
    details = Details(BANK, "cls_iou", 0.8, DetailOptions(semantic=True))
    image = image_of(names, [0.001, 0.48, 0.48], [0.9, 0.2, 0.2], masks)
    details.add(image)
    metrics = details.metrics()
    # All pixels are dogs: IoU of the dog 2 of 4, of the cat 0; the grass is neither true nor predicted.
    assert (metrics["mIoU_proposals"], metrics["mIoU_occurring_proposals"]) == (25.0, 25.0)
    merged = summarise_semantic(count_semantic(image.overlaps))
    assert [c.iou for c in merged.per_class][0::2] == [50.0, 0.0]
    assert [c.iou for c in summarise_semantic(details.pixels).per_class][0::2] == [0.0, 50.0]


@pytest.mark.parametrize(("kind", "expected"), [("cls", 100.0), ("cls_iou", 50.0), ("iou", 50.0)])
def test_ap_from_proposals_does_not_depend_on_the_filter(kind: str, expected: float) -> None:
    """The wrong cat mask is less probable but has the higher predicted IoU, so the filter ranks it first."""
    names = [[0.8, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 0.9]]
    masks = [[9.0, 9.0, -9.0, -9.0], [-9.0, -9.0, -9.0, 9.0], [-9.0, -9.0, 9.0, 9.0]]
    details = Details(BANK, kind, 0.8, DetailOptions(instances=True))
    details.add(image_of(names, [0.2, 0.5, 0.1], [0.3, 0.9, 0.9], masks))
    cat = details.precision().per_class[0]
    assert cat.ap50 == pytest.approx(expected, abs=1)
    assert details.precision(PROPOSALS).per_class[0].ap50 == pytest.approx(100)
    assert details.metrics()["AP50_proposals"] == pytest.approx(100)


def two_squares(shift: int) -> tuple[PanopticMap, GroundTruth]:
    maps = [torch.full((20, 20), 2), torch.full((20, 20), 2)]
    for ids, left in zip(maps, (2, 2 + shift), strict=True):
        ids[3:9, left : left + 6] = 1
    segments = (Segment(1, 0, True), Segment(2, 1, False))
    return PanopticMap(maps[1], segments), GroundTruth(maps[0], segments)


def image_of_map(predicted: PanopticMap, truth: GroundTruth, **more) -> ImageEvaluation:
    masks = ImageMasks(torch.zeros(0, 20, 20), torch.zeros(0), (20, 20), (20, 20), (20, 20))
    nothing = Filtered(*torch.zeros(4, 0))
    overlaps = image_overlaps(predicted, truth, 3)
    return ImageEvaluation(masks, nothing, torch.zeros(0, 3), torch.zeros(0), overlaps, truth, map=predicted, **more)


def test_boundary_pq_is_that_of_the_map(tmp_path: Path) -> None:
    """The square moved by one: IoU 30 / 42, of the boundary 10 / 30, so it is no match."""
    details = Details(BANK, "cls", 0.8, DetailOptions(boundary=True))
    assert DetailOptions(boundary=True).need_map and not DetailOptions(boundary=True).need_masks
    image = image_of_map(*two_squares(1))
    details.add(image)
    metrics = details.metrics()
    assert (metrics["BPQth"], metrics["mBIoU"]) == (0.0, pytest.approx(metrics["mBIoU"]))
    exact = count_image(image.map, image.truth, 3)
    assert exact.tp.tolist() == [1, 1, 0]
    pixels = summarise_semantic(count_semantic(image.overlaps))
    details.write(tmp_path, "a.csv", summarise(exact, BANK.is_thing.tolist()), pixels)
    with (tmp_path / "per_class" / "a.csv").open() as file:
        cat, grass, dog = csv.DictReader(file)
    assert (cat["BPQ"], cat["BIoU"], dog["BIoU"]) == ("0.0000", "33.3333", "")
    assert float(grass["BPQ"]) == pytest.approx(metrics["BPQst"], abs=1e-4)


def test_ground_truth_masks_are_classified_by_the_given_logits(tmp_path: Path) -> None:
    """Of the cat and the grass, the grass is called a dog; the classes are equally many."""
    details = Details(BANK, "cls", 0.8, DetailOptions(mask_classification=True))
    logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 1.0, 2.0]])
    details.add(image_of_map(*two_squares(0), given_logits=logits))
    assert details.metrics() == {"Acc1_masks": 50.0, "Acc5_masks": 100.0, "mAcc1_masks": 50.0, "mAcc5_masks": 100.0}


class OneImage:
    """A ground truth in which only the cat is annotated, and the dog is known to be absent."""

    def __init__(self, image: FederatedImage) -> None:
        self.groups: dict[str, list[int]] = {"r": [0], "c": [1], "f": [2]}
        self._image = image

    def image(self, index: int) -> FederatedImage:
        assert index == 7
        return self._image


def test_federated_instances_replace_those_of_the_map() -> None:
    """Of two detections of a cat the better one is a dog, which LVIS' json does not have."""
    names, masks = [[0.5, 0.0, 0.0], [0.6, 0.0, 0.0]], [[9.0, 9.0, -9.0, -9.0], [-9.0, -9.0, 9.0, 9.0]]
    plain = image_of(names, [0.5, 0.4], [0.9, 0.9], masks)
    cat = instances_from_map(GroundTruth(plain.truth.ids, plain.truth.segments[:1]))
    for open_classes, expected in (((), 50.0), ((0,), 100.0)):
        image = FederatedImage((1, 4), cat, frozenset({2}), frozenset(open_classes))
        details = Details(BANK, "cls", 0.8, DetailOptions(instances=True), OneImage(image))
        details.add(dataclasses.replace(plain, index=7))
        measures = [f"{m}{suffix}" for suffix in ("", "_proposals") for m in ("AP", "AP50", "AP75", "APr")]
        assert details.metrics() == pytest.approx(dict.fromkeys(measures, expected), abs=0.1)


def test_classes_and_confusions_as_csv(tmp_path: Path) -> None:
    details, scored = details_of((0, 1, 0), instances=True)
    result = summarise(scored.segments, BANK.is_thing.tolist())
    details.write(tmp_path, "scenes/full_cls.csv", result, summarise_semantic(count_semantic(scored.overlaps)))
    with (tmp_path / "confusions" / "scenes" / "full_cls.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"truth": "dog", "predicted": "cat", "count": "1", "share": "1.0000"}]
    with (tmp_path / "per_class" / "scenes" / "full_cls.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert (rows["cat"]["TP"], rows["cat"]["FP"], rows["dog"]["FN"], rows["dog"]["misnamed"]) == ("1", "1", "1", "1")
    assert rows["grass"]["AP"] == ""
    assert rows["grass"]["IoU"] == "100.0000"
    assert rows["cat"]["AP_proposals"] == rows["cat"]["AP"]
    assert "IoU_proposals" not in rows["cat"]


def test_without_confusions_there_is_no_file(tmp_path: Path) -> None:
    details, scored = details_of(TRUE)
    details.write(
        tmp_path,
        "a.csv",
        summarise(scored.segments, BANK.is_thing.tolist()),
        summarise_semantic(count_semantic(scored.overlaps)),
    )
    assert [path.name for path in tmp_path.iterdir()] == ["per_class"]
