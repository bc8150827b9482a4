"""Masks from memory: all forms, their ids and scores, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from opsnet.prediction import given_masks
from opsnet.prediction.given_masks import from_id_map, from_memory, from_records
from opsnet.utils.errors import InputError

SIZE = (4, 6)


@pytest.fixture
def masks() -> np.ndarray:
    masks = np.zeros((3, *SIZE), bool)
    masks[0, :2], masks[1, 1:, 3:], masks[2, 0, 0] = True, True, True
    return masks


def sams(masks: np.ndarray) -> list[dict]:
    """What SAM's automatic mask generator returns."""
    return [
        {
            "segmentation": mask, "area": int(mask.sum()), "bbox": [0, 0, 6, 4], "predicted_iou": 0.5 + 0.1 * i,
            "point_coords": [[0.5, 0.5]], "stability_score": 0.9, "crop_box": [0, 0, 6, 4],
        }
        for i, mask in enumerate(masks)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "form",
    [
        lambda m: m, torch.from_numpy, list, lambda m: m.astype(np.float32), lambda m: torch.from_numpy(m)[:, None],
        lambda m: {"masks": list(m)}, lambda m: [torch.from_numpy(one) for one in m], sams,
    ],
)  # fmt: skip
def test_arrays_and_lists(form, masks: np.ndarray) -> None:
    found = from_memory(form(masks), SIZE)
    assert np.array_equal(found.masks, masks)
    assert found.ids == (0, 1, 2)
    expected = [0.5, 0.6, 0.7] if form is sams else [1, 1, 1]
    assert found.scores.tolist() == pytest.approx(expected)


def test_a_single_mask_and_none(masks: np.ndarray) -> None:
    assert np.array_equal(from_memory(masks[0], SIZE).masks, masks[:1])
    assert from_memory([], SIZE).masks.shape == from_memory(np.zeros((0, 4, 6), bool), SIZE).masks.shape == (0, 4, 6)


def test_a_map_of_ids() -> None:
    ids = np.array([[0, 7, 7, 300, 0, 0]] * 4)
    found = from_memory(ids, SIZE)
    assert found.ids == (7, 300)
    assert np.array_equal(found.masks, [ids == 7, ids == 300])


def test_given_scores_and_ids_of_records(masks: np.ndarray) -> None:
    assert from_memory(masks, SIZE, scores=[0.1, 0.2, 0.3]).scores.tolist() == pytest.approx([0.1, 0.2, 0.3])
    pipeline = {"masks": list(masks), "scores": torch.tensor([0.1, 0.2, 0.3])}  # transformers'
    assert from_memory(pipeline, SIZE).scores.tolist() == pytest.approx([0.1, 0.2, 0.3])
    records = [{**record, "id": 5 + i} for i, record in enumerate(sams(masks))]
    assert from_memory(records, SIZE).ids == (5, 6, 7)
    assert from_memory([*records[:2], sams(masks)[2]], SIZE).ids == (0, 1, 2)  # one has none


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda m: m[:, :3], r"masks: what is given is 6 x 3 pixels, but the image is 6 x 4"),
        (lambda m: [m[0], m[1][:3]], r"masks: mask 1 is 6 x 3 pixels, but the image is 6 x 4"),
        (lambda m: m * 0.5, "values besides 0 and 1"),
        (lambda m: m[None, None], "of shape"),
        (lambda m: {"a": 1}, "not of numbers"),
        (lambda m: [*sams(m), 5], "masks: mask 3 is 5, not an object"),
        (lambda m: [{**r, "id": 3} for r in sams(m)], "the id 3 occurs twice"),
        (lambda m: [{**r, "score": 3, "predicted_iou": None} for r in sams(m)], "masks: mask 0 has the score 3"),
        (lambda m: -np.array([[2, 0, 0, 0, 3, 0]] * 4), "values besides 0 and 1"),
    ],
)
def test_invalid_masks(form, message: str, masks: np.ndarray) -> None:
    with pytest.raises(InputError, match=message):
        from_memory(form(masks), SIZE)


def test_invalid_scores_and_maps(masks: np.ndarray) -> None:
    with pytest.raises(InputError, match="scores: 2 for 3 masks"):
        from_memory(masks, SIZE, scores=[1, 1])
    with pytest.raises(InputError, match="scores: a mask has the score 90"):
        from_memory(masks, SIZE, scores=[1, 1, 90])
    with pytest.raises(InputError, match="x: the map has the id -2"):
        from_id_map(np.full(SIZE, -2), SIZE, source="x")


def test_more_masks_than_fit_are_refused_before_they_are_read(monkeypatch) -> None:
    monkeypatch.setattr(given_masks, "MAX_PIXELS", 240)
    records = [{"segmentation": None}] * 11
    with pytest.raises(InputError, match="11 masks; for an image of 6 x 4 pixels at most 10 masks are read"):
        from_records(records, SIZE)
    with pytest.raises(InputError, match="24 different values; is it a photograph"):
        from_id_map(np.arange(1, 25).reshape(SIZE), SIZE)
