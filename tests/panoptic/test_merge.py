"""Merging masks into a map, on rows of a few pixels worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from opsnet.panoptic.merge import merge_masks, merge_panoptic, upsample_masks
from opsnet.structures import PanopticMap

THING, STUFF = 0, 1
IS_THING = (True, False)


def merge(rows: list[list[float]], scores: list[float], labels: list[int], **options) -> PanopticMap:
    """Merges masks with a single row of pixels each."""
    masks = torch.tensor(rows)[:, None] if rows else torch.zeros(0, 1, 4)
    keep = torch.tensor(options.pop("keep", [True] * len(scores)), dtype=torch.bool)
    labels_ = torch.tensor(labels, dtype=torch.int64)
    return merge_panoptic(masks, torch.tensor(scores), labels_, keep, IS_THING, **options)


def ids(prediction: PanopticMap) -> list[int]:
    return prediction.ids[0].tolist()


def assert_consistent(prediction: PanopticMap) -> None:
    """The ids of the map and the segments agree, and so do the areas."""
    found = {int(i): int((prediction.ids == i).sum()) for i in prediction.ids.unique() if i > 0}
    assert {segment.id: segment.area for segment in prediction.segments} == found
    assert len({segment.id for segment in prediction.segments}) == len(prediction.segments)
    assert prediction.ids.dtype == torch.int64


def test_two_things_side_by_side() -> None:
    prediction = merge([[0.9, 0.8, 0.1, 0.1], [0.1, 0.1, 0.2, 0.7]], [0.75, 0.5], [THING, THING])
    assert ids(prediction) == [1, 1, 0, 2]  # no mask has a probability of at least 0.5 at the third pixel
    assert [(s.id, s.label, s.is_thing, s.score, s.area) for s in prediction.segments] == [
        (1, 0, True, 0.75, 2),
        (2, 0, True, 0.5, 1),
    ]
    assert_consistent(prediction)


def test_a_pixel_goes_to_the_highest_score_times_probability() -> None:
    prediction = merge([[0.9, 0.9, 0.9], [0.1, 0.6, 1.0]], [0.5, 0.6], [THING, THING], overlap=0.0)
    # 0.45 0.45 0.45 against 0.06 0.36 0.60
    assert ids(prediction) == [1, 1, 2]


def test_a_winner_below_one_half_gives_void() -> None:
    # The first wins the pixel (0.4 against 0.3) outside its mask; the second does not get it either.
    prediction = merge([[0.4, 0.9, 0.0], [0.6, 0.0, 1.0]], [1.0, 0.5], [THING, THING], overlap=0.0)
    assert ids(prediction) == [0, 1, 2]


def test_stuff_of_one_name_is_one_segment_and_things_are_separate() -> None:
    rows = [[0.9, 0.0, 0.0, 0.0], [0.0, 0.9, 0.0, 0.0], [0.0, 0.0, 0.9, 0.0], [0.0, 0.0, 0.0, 0.9]]
    prediction = merge(
        rows, [0.5, 0.5, 0.75, 0.5], [STUFF, THING, STUFF, THING], iou=torch.tensor([0.25, 0.5, 0.125, 1])
    )
    assert ids(prediction) == [1, 2, 1, 3]
    stuff = prediction.segments[0]
    assert (stuff.label, stuff.is_thing, stuff.area) == (STUFF, False, 2)
    assert (stuff.score, stuff.iou) == (0.75, 0.25)  # the best of its parts
    assert [s.iou for s in prediction.segments[1:]] == [0.5, 1.0]
    assert_consistent(prediction)


@pytest.mark.parametrize(("overlap", "expected"), [(0.75, [2, 1, 1, 1]), (0.8, [1, 0, 0, 0])])
def test_a_mask_that_is_mostly_occluded_is_dropped(overlap: float, expected: list[int]) -> None:
    # The first mask keeps three of its four pixels: enough at 0.75, not at 0.8.
    rows = [[0.9, 0.9, 0.9, 0.9], [0.9, 0.0, 0.0, 0.0]]
    prediction = merge(rows, [0.5, 0.9], [THING, THING], overlap=overlap)
    assert ids(prediction) == expected
    assert_consistent(prediction)


def test_pixels_won_outside_the_mask_count_for_the_overlap_but_are_not_taken() -> None:
    # The first wins one of its two pixels and the fourth one, outside its mask: Mask2Former counts both.
    prediction = merge([[0.9, 0.9, 0.1, 0.4], [0.9, 0.0, 0.9, 0.1]], [0.5, 0.9], [THING, THING], overlap=0.8)
    assert ids(prediction) == [2, 1, 2, 0]
    assert [s.area for s in prediction.segments] == [1, 2]
    assert_consistent(prediction)


def test_pixels_of_dropped_masks_are_void() -> None:
    prediction = merge([[0.9, 0.9, 0.9, 0.9], [0.9, 0.9, 0.9, 0.0]], [0.5, 0.9], [THING, STUFF])
    assert ids(prediction) == [1, 1, 1, 0]
    assert [s.label for s in prediction.segments] == [STUFF]


def test_only_kept_proposals_compete() -> None:
    rows = [[1.0, 1.0], [0.6, 0.6]]
    prediction = merge(rows, [1.0, 0.5], [THING, STUFF], keep=[False, True])
    assert ids(prediction) == [1, 1]
    assert prediction.segments[0].label == STUFF
    assert prediction.segments[0].iou == 1.0  # not given


@pytest.mark.parametrize(("rows", "keep"), [([], []), ([[0.9, 0.9, 0.9, 0.9]], [False])])
def test_without_proposals_all_is_void(rows: list[list[float]], keep: list[bool]) -> None:
    prediction = merge(rows, [0.5] * len(rows), [THING] * len(rows), keep=keep)
    assert ids(prediction) == [0, 0, 0, 0]
    assert prediction.ids.dtype == torch.int64
    assert prediction.segments == ()


def test_masks_below_one_half_everywhere_give_no_segment() -> None:
    prediction = merge([[0.4, 0.4], [0.3, 0.45]], [0.9, 0.9], [THING, STUFF])
    assert ids(prediction) == [0, 0]
    assert prediction.segments == ()


@pytest.mark.parametrize("seed", range(5))
def test_random_maps_against_a_loop_over_pixels(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(6, 5, 7, generator=generator)
    scores, labels = torch.rand(6, generator=generator), torch.tensor([0, 1, 0, 1, 1, 0])
    keep = torch.rand(6, generator=generator) > 0.2
    prediction = merge_panoptic(masks, scores, labels, keep, IS_THING, overlap=0.3)
    assert_consistent(prediction)
    owner = slow_owner(masks, scores, keep, 0.3)
    by_id = {segment.id: segment for segment in prediction.segments}
    for y in range(5):
        for x in range(7):
            found = int(prediction.ids[y, x])
            assert (found == 0) == (owner[y][x] is None)
            if found:
                assert by_id[found].label == labels[owner[y][x]]


def slow_owner(masks: Tensor, scores: Tensor, keep: Tensor, overlap: float) -> list[list[int | None]]:
    """The proposal that gets each pixel: the winner if the pixel is in its mask and it wins enough pixels overall."""
    kept = [k for k in range(len(masks)) if keep[k]]
    _, height, width = masks.shape
    winner = [[max(kept, key=lambda k: float(scores[k] * masks[k, y, x])) for x in range(width)] for y in range(height)]
    won = {k: sum(row.count(k) for row in winner) for k in kept}
    whole = {k: won[k] / max(1, int((masks[k] >= 0.5).sum())) >= overlap for k in kept}
    return [
        [k if whole[k] and masks[k, y, x] >= 0.5 else None for x, k in enumerate(row)] for y, row in enumerate(winner)
    ]


def test_the_map_does_not_depend_on_the_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    masks, scores = (4 * torch.rand(5, 23, 6)).round() / 4, torch.rand(5)  # with ties
    rest = (scores, torch.tensor([0, 0, 1, 1, 0]), torch.tensor([True, True, False, True, True]), IS_THING)
    whole = merge_panoptic(masks, *rest, overlap=0)  # all at once: they are small
    assert len(whole.segments) > 2
    for size in (1, 3):
        monkeypatch.setattr("opsnet.panoptic.merge.in_groups", lambda kept, _, size=size: kept.split(size))
        grouped = merge_panoptic(masks, *rest, overlap=0)
        assert torch.equal(grouped.ids, whole.ids)
        assert grouped.segments == whole.segments


def test_small_masks_are_merged_like_upsampled_masks() -> None:
    torch.manual_seed(0)
    logits, scores, labels = 3 * torch.randn(4, 5, 6), torch.rand(4), torch.tensor([0, 1, 1, 0])
    iou, every = torch.rand(4), torch.ones(4, dtype=torch.bool)
    found = merge_masks(logits, scores, labels, IS_THING, padded=(20, 24), valid=(17, 23), iou=iou, overlap=0.1)
    full = upsample_masks(logits, (20, 24), (17, 23))
    expected = merge_panoptic(full, scores, labels, every, IS_THING, iou=iou, overlap=0.1)
    assert found.ids.shape == (17, 23)
    assert len(found.segments) > 1
    assert torch.equal(found.ids, expected.ids)
    assert found.segments == expected.segments


@pytest.mark.parametrize("size", [(9, 31), (40, 50)])
def test_small_masks_are_merged_at_the_original_image_size(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    logits, scores, labels = 3 * torch.randn(4, 5, 6), torch.rand(4), torch.tensor([0, 1, 1, 0])
    every, where = torch.ones(4, dtype=torch.bool), {"padded": (20, 24), "valid": (17, 23)}
    found = merge_masks(logits, scores, labels, IS_THING, **where, size=size, iou=every.float(), overlap=0.1)
    expected = merge_panoptic(upsample_masks(logits, **where, size=size), scores, labels, every, IS_THING, overlap=0.1)
    assert found.ids.shape == size
    assert len(found.segments) > 1
    assert torch.equal(found.ids, expected.ids)
    assert found.segments == expected.segments


def test_the_first_wins_a_tie() -> None:
    assert ids(merge([[0.8, 0.8, 0.2], [0.8, 0.2, 0.8]], [0.5, 0.5], [THING, THING], overlap=0)) == [1, 1, 2]


@pytest.mark.parametrize("size", [1, 2])
def test_half_precision_masks_do_not_round_the_products(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opsnet.panoptic.merge.in_groups", lambda kept, _: kept.split(size))
    masks, scores = torch.full((2, 1, 3), 0.75, dtype=torch.bfloat16), torch.tensor([0.5, 0.5001])
    every, labels = torch.ones(2, dtype=torch.bool), torch.tensor([THING, THING])
    merged = merge_panoptic(masks, scores, labels, every, IS_THING, overlap=0)
    assert [s.score for s in merged.segments] == pytest.approx([0.5001])


def test_masks_of_a_diverged_network_can_be_merged() -> None:
    merged = merge([[float("nan"), 0.1, 0.9], [0.9, 0.9, float("nan")]], [0.5, 0.5], [THING, THING], overlap=0)
    assert ids(merged)[1] > 0  # pixels without nan are merged normally


def test_upsampling_removes_the_padding() -> None:
    logits = torch.tensor([[[4.0, -4.0], [4.0, -4.0]]])
    probabilities = upsample_masks(logits, (8, 8), (5, 3))
    assert probabilities.shape == (1, 5, 3)
    torch.testing.assert_close(probabilities[0, :, 0], torch.full((5,), 4.0).sigmoid())
    assert (probabilities > 0.5).all()  # the valid part lies in the left half
    assert (upsample_masks(logits, (8, 8), (8, 8))[0, :, 4:] < 0.5).all()


def test_upsampling_nothing_keeps_the_size() -> None:
    assert upsample_masks(torch.zeros(0, 2, 2), (8, 8), (5, 3)).shape == (0, 5, 3)


def test_upsampling_interpolates_logits_not_probabilities() -> None:
    logits = torch.tensor([[[8.0, -2.0]]])
    # The third of 8 columns lies at 2.5 / 4 - 0.5, an eighth of the way from the first centre to the second.
    expected = torch.tensor(8.0 - 10.0 / 8).sigmoid().item()
    assert upsample_masks(logits, (1, 8), (1, 8))[0, 0, 2].item() == pytest.approx(expected)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of the memory is read as on Linux")
def test_a_large_map_takes_little_more_memory_than_itself() -> None:
    def memory(key: str) -> float:
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(lines[key].split()[0]) / 2**10

    logits = torch.randn(6, 50, 75)
    size = {"padded": (200, 300), "valid": (200, 300), "size": (2000, 3000)}
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = memory("VmRSS")
    merge_masks(logits, torch.rand(6), torch.arange(6), [True] * 6, iou=torch.ones(6), **size)
    per_pixel = 8 + 4 + 2 + 2 * 4  # bytes: the map, best scores, winners, and two masks while one is made
    assert memory("VmHWM") - before < 1.2 * per_pixel * 2000 * 3000 / 2**20


def test_binary_masks_keep_exactly_their_pixels() -> None:
    masks = torch.tensor([[[1, 1, 0, 0, 0, 0]], [[0, 1, 1, 1, 0, 0]]], dtype=torch.bool)
    sizes = {"padded": (1, 6), "valid": (1, 6), "iou": torch.ones(2)}
    scores, labels = torch.tensor([0.5, 0.75]), torch.tensor([THING, THING])
    found = merge_masks(masks, scores, labels, IS_THING, overlap=0.5, **sizes)
    assert ids(found) == [1, 2, 2, 2, 0, 0]
    # The first keeps half of its mask; pixels outside of all masks are not counted as its own.
    assert ids(merge_masks(masks, scores, labels, IS_THING, overlap=0.6, **sizes)) == [0, 1, 1, 1, 0, 0]


def test_a_segment_has_all_proposals_that_were_joined() -> None:
    found = merge([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]], [0.5, 0.75, 0.25], [STUFF, THING, STUFF])
    assert [(s.proposal, s.proposals) for s in found.segments] == [(0, (0, 2)), (1, (1,))]
