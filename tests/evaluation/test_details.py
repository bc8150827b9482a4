"""AP, oracles, classes and confusions of an image whose results are known."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from opsnet.evaluation.details import DetailOptions, Details, ImageEvaluation
from opsnet.evaluation.scored_image import ImageMasks, score_image
from opsnet.metrics.panoptic_averages import summarise
from opsnet.metrics.semantic import summarise_semantic
from opsnet.panoptic.mask_filtering import Filtered
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
    assert set(details_of(TRUE, instances=True)[0].metrics()) == {"AP", "AP50", "AP75"}


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


def test_without_confusions_there_is_no_file(tmp_path: Path) -> None:
    details, scored = details_of(TRUE)
    details.write(
        tmp_path, "a.csv", summarise(scored.segments, BANK.is_thing.tolist()), summarise_semantic(scored.pixels)
    )
    assert [path.name for path in tmp_path.iterdir()] == ["per_class"]
