"""The merges with many sets of scores equal the merge with one in every pixel."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.panoptic.dense_merge import DenseMerge
from opsnet.panoptic.mask_filtering import Filtered
from opsnet.panoptic.merge import merge_panoptic
from opsnet.panoptic.sparse_merge import SparseMerge

CLASSES, REGIONS = 5, 4
IS_THING = (True, False, True, False, False)


def smooth(count: int, size: tuple[int, int], seed: int) -> Tensor:
    """Masks (K, H, W) of blobs like those of a network: nearly 0 or 1 in most pixels."""
    generator = torch.Generator().manual_seed(seed)
    coarse = 6 * torch.randn(1, count, 5, 6, generator=generator) - 3
    return F.interpolate(coarse, size=size, mode="bilinear")[0].sigmoid()


def noise(count: int, size: tuple[int, int], seed: int) -> Tensor:
    """Masks (K, H, W) of independent pixels."""
    return torch.rand(count, *size, generator=torch.Generator().manual_seed(seed))


def with_ties(count: int, size: tuple[int, int], seed: int) -> Tensor:
    """Masks with few distinct values, including 0 and 0.5."""
    return (noise(count, size, seed) * 4).round() / 4


def twins(count: int, size: tuple[int, int], seed: int) -> Tensor:
    """Every mask twice, so that more proposals tie than a cell has candidates."""
    return smooth(1 + count // 8, size, seed).repeat(8, 1, 1)[:count]


def single_pixels(count: int, size: tuple[int, int], seed: int) -> Tensor:
    """Masks of a single pixel each, 0 elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(count, size[0] * size[1])
    masks[torch.arange(count), torch.randint(size[0] * size[1], (count,), generator=generator)] = 0.9
    return masks.view(count, *size)


def draws(count: int, seed: int) -> list[Filtered]:
    """Many sets of scores: continuous, quantized, tiny, zero; with few or no proposals kept."""
    generator = torch.Generator().manual_seed(seed)

    def rand() -> Tensor:
        return torch.rand(count, generator=generator)

    scores = [rand(), rand() ** 4, (3 * rand()).round() / 3, 1e-30 * rand(), torch.zeros(count), torch.ones(count)]
    shares = (1.0, 0.5, 0.1, 0.0)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    return [
        Filtered(s, labels, rand() < share, scores[i - 1] if i % 2 else s)
        for i, s in enumerate(scores)
        for share in shares
    ]


def stacked(settings: list[Filtered]) -> Filtered:
    return Filtered(*map(torch.stack, zip(*settings, strict=True)))


def check(masks: Tensor, settings: list[Filtered], *, overlap: float = 0.5, step: int = 3) -> int:
    """Compares segments, map and overlaps of every setting with a merge of its own; returns the number of segments."""
    iou, regions = torch.rand(len(masks)), torch.randint(REGIONS, masks.shape[1:])
    regions[: len(regions) // 2] = 1
    given = {"iou": iou, "overlap": overlap}
    together = [
        kind(masks.split(step), regions, REGIONS, IS_THING, **given).merge_all(
            stacked(settings), with_map=[True] * len(settings)
        )
        for kind in (SparseMerge, DenseMerge)
    ]
    seen = 0
    for found, (*named, merge_scores) in zip(itertools.chain(*together), 2 * settings, strict=True):
        dense = merge_panoptic(masks, *named, IS_THING, iou=iou, merge_scores=merge_scores, overlap=overlap)
        assert found.segments == dense.segments
        assert found.map is not None
        assert torch.equal(found.map.ids, dense.ids)
        assert found.map.segments == dense.segments
        table = torch.zeros(REGIONS, 1 + len(dense.segments), dtype=torch.int64)
        table.index_put_((regions, dense.ids), torch.tensor(1), accumulate=True)
        assert torch.equal(found.overlaps, table)
        seen += len(dense.segments)
    return seen


@pytest.mark.parametrize("size", [(32, 40), (35, 41), (3, 5), (1, 1)])
@pytest.mark.parametrize("count", [1, 2, 5, 6, 7, 8, 40])
@pytest.mark.parametrize("kind", [smooth, noise, with_ties, twins, single_pixels])
def test_it_equals_the_dense_merge(kind, count: int, size: tuple[int, int]) -> None:
    torch.manual_seed(count)
    check(kind(count, size, seed=count), draws(count, seed=count))


@pytest.mark.parametrize("overlap", [0.0, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_it_equals_the_dense_merge_for_every_overlap_threshold(seed: int, overlap: float) -> None:
    torch.manual_seed(seed)
    seen = check(smooth(30, (48, 64), seed), draws(30, seed), overlap=overlap)
    assert overlap == 1.0 or seen > 20  # or nothing would have been compared


def test_bf16_masks_and_masks_with_nan() -> None:
    torch.manual_seed(0)
    masks = smooth(12, (24, 30), seed=0)
    check(masks.bfloat16(), draws(12, seed=0))
    masks[3, 4:9, 4:9] = torch.nan
    check(masks, draws(12, seed=0))


def test_without_masks_all_is_void() -> None:
    none = torch.zeros(0)
    regions = torch.tensor([[0, 1, 1], [2, 2, 2]])
    merged = SparseMerge([], regions, REGIONS, IS_THING, iou=none).merge(Filtered(none, none.long(), none.bool(), none))
    assert merged.segments == ()
    assert merged.overlaps.tolist() == [[1], [2], [3], [0]]
    assert merged.map is not None
    assert torch.equal(merged.map.ids, torch.zeros_like(regions))


def test_a_map_is_created_only_if_requested() -> None:
    masks = smooth(4, (8, 8), seed=0)
    filtered = draws(4, seed=0)[0]
    sparse = SparseMerge([masks], torch.zeros(8, 8, dtype=torch.int64), 1, IS_THING, iou=filtered.scores, overlap=0)
    assert sparse.merge(filtered).segments
    assert sparse.merge(filtered).map is None
