"""The sparse contest equals the reference in every pixel for any scores; test_sparse_merge.py tests the merge."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.ops import sparse_contest
from opsnet.ops.sparse_contest import SparseContest, shares_reference

REGIONS = 3


def smooth(count: int, size: tuple[int, int], seed: int) -> Tensor:
    """Masks (K, H, W) of blobs like those of a network: nearly 0 or 1 in most pixels."""
    coarse = 6 * torch.randn(1, count, 5, 6, generator=torch.Generator().manual_seed(seed)) - 3
    return F.interpolate(coarse, size=size, mode="bilinear")[0].sigmoid()


def check(masks: Tensor, sets: int = 7) -> None:
    """Shares, maps and areas of sets that keep few or many masks, with ties and zeros among the scores."""
    generator = torch.Generator().manual_seed(len(masks))
    scores = torch.rand(sets, len(masks), generator=generator)
    scores[1], scores[2] = (3 * scores[1]).round() / 3, 0
    keep = torch.rand(sets, len(masks), generator=generator) < torch.linspace(0, 1, sets)[:, None]
    keep[:, len(masks) // 2] = True
    regions = torch.randint(REGIONS, masks.shape[1:], generator=generator)
    regions[: len(regions) // 2] = 1
    sparse = SparseContest(masks.split(3), regions, REGIONS, masks=len(masks), dtype=scores.dtype)
    assert torch.equal(sparse.areas, (masks >= 0.5).flatten(1).sum(1))
    assert torch.equal(sparse.totals(), torch.bincount(regions.flatten(), minlength=REGIONS))
    seen = 0
    for found, own, kept in zip(sparse.run(scores, keep), scores, keep, strict=True):
        shares, winner, inside = shares_reference(masks, regions, REGIONS, own, kept)
        assert torch.equal(torch.from_numpy(found.shares), shares)
        assert torch.equal(found.paint(1 + torch.arange(len(masks))), torch.where(inside, 1 + winner, 0))
        seen += 1
    assert seen == sets


@pytest.mark.parametrize("size", [(32, 40), (35, 41), (3, 5), (1, 1)])
@pytest.mark.parametrize("count", [1, 2, 5, 8, 33])
def test_it_equals_the_reference(count: int, size: tuple[int, int]) -> None:
    check(smooth(count, size, seed=count))
    check(torch.rand(count, *size, generator=torch.Generator().manual_seed(count)))


def test_ties_half_precision_and_nan() -> None:
    masks = smooth(12, (24, 30), seed=0)
    check((masks * 4).round() / 4)
    check(masks[:3].repeat(4, 1, 1))
    check(masks.bfloat16())
    masks[3, 4:9, 4:9] = torch.nan
    check(masks)


@pytest.mark.parametrize("at_once", [1, 300, 2**20])
def test_it_does_not_depend_on_how_many_sets_are_processed_together(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse_contest, "_AT_ONCE", at_once)
    check(smooth(12, (24, 30), seed=0))


def test_most_cells_are_decided_without_their_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it would be correct but slow."""
    cells = []
    compete = SparseContest._compete

    def counted(self, own, kept, owner, *rest):
        cells.append(len(owner))
        return compete(self, own, kept, owner, *rest)

    monkeypatch.setattr(SparseContest, "_compete", counted)
    masks, scores = smooth(40, (128, 160), seed=1), torch.rand(2, 40, generator=torch.Generator().manual_seed(1))
    whole = torch.zeros(128, 160, dtype=torch.int64)
    sparse = SparseContest([masks], whole, 1, masks=40, dtype=scores.dtype)
    assert len(list(sparse.run(scores, scores >= 0))) == 2
    assert 0 < sum(cells) < 0.6 * 2 * len(sparse._region)
