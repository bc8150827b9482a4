"""AP, oracles, classes and confusions of an image whose results are known."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from opsnet.evaluation.details import DetailOptions, Details, ImageEvaluation
from opsnet.evaluation.scored_image import ImageMasks, score_image
from opsnet.metrics.panoptic_averages import summarise
from opsnet.metrics.semantic import PROPOSALS, count_semantic, summarise_semantic
from opsnet.panoptic.mask_filtering import Filtered, MaskFiltering
from opsnet.structures import GroundTruth, Segment, TextBank

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


def test_classes_and_confusions_as_csv(tmp_path: Path) -> None:
    details, scored = details_of((0, 1, 0), instances=True)
    result = summarise(scored.segments, BANK.is_thing.tolist())
    details.write(tmp_path, "scenes/full_cls.csv", result, summarise_semantic(scored.pixels))
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
        tmp_path, "a.csv", summarise(scored.segments, BANK.is_thing.tolist()), summarise_semantic(scored.pixels)
    )
    assert [path.name for path in tmp_path.iterdir()] == ["per_class"]
