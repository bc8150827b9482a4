"""AP, oracles, classes and confusions of a picture whose answer is known."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from opsnet.evaluation.details import Details, ImageAnswer, Wanted
from opsnet.evaluation.scored_image import ImageMasks, score_image
from opsnet.metrics.panoptic_averages import summarise
from opsnet.metrics.semantic import summarise_semantic
from opsnet.panoptic.mask_filtering import Filtered
from opsnet.structures import GroundTruth, Segment, TextBank

BANK = TextBank("three", ("cat", "grass", "dog"), torch.tensor([True, False, True]), torch.eye(3))
TRUE = (0, 1, 2)  # the classes of the truth's three segments


def looked_at(named: tuple[int, ...], kind: str = "cls_iou", **wanted: bool):
    """Details of a picture of 8 x 12 whose masks are right and are named so; and what the scorer says of it."""
    ids = torch.arange(1, 4).repeat_interleave(4)[None].expand(8, 12).contiguous()
    truth = GroundTruth(ids, tuple(Segment(k + 1, c, c != 1) for k, c in enumerate(TRUE)))
    masks = ImageMasks(
        40.0 * (ids == ids.unique()[:, None, None]) - 20, torch.full((3,), 0.9), (8, 12), (8, 12), (8, 12)
    )
    logits, no_object = torch.full((3, 3), -20.0), torch.zeros(3)
    logits[torch.arange(3), torch.tensor(named)] = 20.0
    scores = torch.full((1, 3), 0.9)
    rows = Filtered(scores, torch.tensor([named]), torch.ones(1, 3, dtype=torch.bool), scores)
    (scored,) = score_image(masks, truth, rows, with_map=[False], is_thing=BANK.is_thing.tolist(), overlaps=[0.8])
    details = Details(BANK, kind, 0.8, Wanted(**wanted))
    details.add(ImageAnswer(masks, Filtered(*(r[0] for r in rows)), logits, no_object, scored.overlaps, truth))
    return details, scored


@pytest.mark.parametrize("kind", ["cls", "iou", "cls_iou"])
def test_true_masks_with_true_names_reach_a_hundred(kind: str) -> None:
    figures = looked_at(TRUE, kind, instances=True, oracles=True)[0].figures()
    assert {key: figures[key] for key in ("AP", "AP50", "AP75")} == pytest.approx(
        {"AP": 100.0, "AP50": 100.0, "AP75": 100.0}
    )
    assert {key: v for key, v in figures.items() if key.endswith("/PQ")} == {
        f"oracle/{name}/PQ": 100.0 for name in ("names", "filter", "masks", "names+filter", "masks+names")
    }


def test_a_wrong_name_is_what_the_oracle_of_names_puts_right() -> None:
    """The dog is called a cat: PQ of the cat 1 / (1 + 1/2), of the dog 0."""
    figures = looked_at((0, 1, 0), instances=True, oracles=True)[0].figures()
    assert figures["oracle/masks/PQ"] == pytest.approx(100 * (2 / 3 + 1 + 0) / 3)
    assert figures["oracle/names/PQ"] == 100.0
    assert figures["AP50"] < 100


def test_what_is_not_asked_for_is_not_answered() -> None:
    assert looked_at(TRUE)[0].figures() == {}
    assert set(looked_at(TRUE, instances=True)[0].figures()) == {"AP", "AP50", "AP75"}


def test_classes_and_confusions_as_csv(tmp_path: Path) -> None:
    details, scored = looked_at((0, 1, 0), instances=True)
    result = summarise(scored.segments, BANK.is_thing.tolist())
    details.write(tmp_path, "home/full_cls.csv", result, summarise_semantic(scored.pixels))
    with (tmp_path / "confusions" / "home" / "full_cls.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"truth": "dog", "predicted": "cat", "count": "1", "share": "1.0000"}]
    with (tmp_path / "per_class" / "home" / "full_cls.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert (rows["cat"]["TP"], rows["cat"]["FP"], rows["dog"]["FN"], rows["dog"]["misnamed"]) == ("1", "1", "1", "1")
    assert rows["grass"]["AP"] == ""
    assert rows["grass"]["IoU"] == "100.0000"


def test_without_confusions_there_is_no_file(tmp_path: Path) -> None:
    details, scored = looked_at(TRUE)
    details.write(
        tmp_path, "a.csv", summarise(scored.segments, BANK.is_thing.tolist()), summarise_semantic(scored.pixels)
    )
    assert [path.name for path in tmp_path.iterdir()] == ["per_class"]
