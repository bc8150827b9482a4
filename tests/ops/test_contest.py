"""The contest of masks for pixels: the grouped form with 16-bit codes exactly equals the reference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from opsnet.ops.contest import contest, contest_codes, contest_reference, in_groups


def same(masks: Tensor, scores: Tensor, step: int) -> bool:
    found, expected = contest(masks.split(step), scores, masks.shape[1:]), contest_reference(masks, scores)
    assert found.winner.dtype == expected.winner.dtype == torch.int64
    return all(torch.equal(a.long(), b.long()) for a, b in zip(found, expected, strict=True))


def test_winners_by_hand() -> None:
    masks = torch.tensor([[[0.9, 0.4, 0.5]], [[0.6, 0.4, 0.5]]])
    winner, inside, areas = contest_reference(masks, torch.tensor([0.5, 1.0]))
    assert winner.tolist() == [[1, 1, 1]]  # products 0.45 and 0.6, 0.2 and 0.4, 0.25 and 0.5
    assert inside.tolist() == [[True, False, True]]
    assert areas.tolist() == [2, 2]
    assert same(masks, torch.tensor([0.5, 1.0]), 1)


@pytest.mark.parametrize("step", [1, 2, 7, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_it_exactly_equals_the_reference(step: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    for count in (1, 5, 40):
        masks, scores = torch.rand(count, 11, 13, generator=generator), torch.rand(count, generator=generator)
        scores = scores.to(torch.promote_types(dtype, torch.float32))
        assert same(masks.to(dtype), scores, step)
        assert same((masks * 4).round().to(dtype) / 4, (scores * 3).round() / 3, step)  # ties, including zeros


def test_the_first_wins_a_tie_within_and_across_groups() -> None:
    masks = torch.full((4, 1, 2), 0.75)
    for step in (1, 2, 4):
        assert contest(masks.split(step), torch.tensor([0.5, 1.0, 1.0, 1.0]), (1, 2)).winner.tolist() == [[1, 1]]


def test_a_pixel_with_a_nan_is_assigned_to_the_first_mask_outside_of_it() -> None:
    masks = torch.tensor([[[0.9, 0.1]], [[torch.nan, 0.8]]])
    assert same(masks, torch.ones(2), 2)
    winner, inside, _ = contest_reference(masks, torch.ones(2))
    assert (winner.tolist(), inside.tolist()) == ([[0, 1]], [[False, True]])


def test_groups_fit_into_a_cpus_cache() -> None:
    kept = torch.arange(100)
    assert [len(k) for k in in_groups(kept, (256, 256))] == [4] * 25
    assert len(in_groups(kept, (4000, 4000))) == 100  # one at a time, however large
    assert len(in_groups(torch.zeros(100, dtype=torch.int64, device="meta"), (4000, 4000))) == 1


def test_bands_of_rows_do_not_change_the_winners(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    masks, scores = torch.rand(5, 13, 7), torch.rand(5)
    whole = contest_codes([masks], scores, (13, 7))
    monkeypatch.setattr("opsnet.ops.contest.CACHE_ELEMENTS", 14)  # two rows
    single = contest_codes(masks.split(1), scores, (13, 7))
    assert torch.equal(single.code, whole.code) and torch.equal(single.areas, whole.areas)
    expected = contest_reference(masks, scores)
    assert [x.tolist() for x in single.counts()] == [
        torch.bincount(expected.winner.flatten(), minlength=5).tolist(),
        torch.bincount(expected.winner[expected.inside], minlength=5).tolist(),
    ]
    ids = torch.tensor([3, 0, 2, 9, 1])
    assert torch.equal(single.paint(ids), ids[expected.winner] * expected.inside)
