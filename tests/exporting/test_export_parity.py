"""The comparison detects differences, and draws its images."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from opsnet.exporting.network import ExportError
from opsnet.exporting.parity import Parity, check, compare, drawn_batch
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.structures import TextBank

BANK = TextBank("two", ("sea", "tree"), torch.tensor([False, True]), torch.eye(2))


def outputs() -> list[torch.Tensor]:
    """Two proposals in an image of 64 x 64: the upper half is sea, the lower half a tree."""
    masks = torch.full((1, 2, 16, 16), -8.0)
    masks[0, 0, :8], masks[0, 1, 8:] = 8.0, 8.0
    return [masks, torch.tensor([[[9.0, 0], [0, 9.0]]]), torch.zeros(1, 2), torch.full((1, 2), 0.9)]


def compared(theirs: list[torch.Tensor]) -> Parity:
    network = SimpleNamespace(forward_bank=lambda images, size, target: tuple(outputs()))
    runs = compare(
        network, lambda images, size, target: tuple(theirs), [drawn_batch((64, 64), 0)], [BANK],  # type: ignore[arg-type]
        filtering=MaskFiltering(threshold=0.1), overlap=0.8,
    )  # fmt: skip
    return list(runs)[-1]


def test_equal_outputs_do_not_differ() -> None:
    assert compared(outputs()) == Parity(runs=1, of_pixels=64 * 64, segments=2)


def test_differences_are_measured() -> None:
    theirs = outputs()
    theirs[0][0, 0, 0, 0] -= 8  # probability 0.5 in place of 0.9997
    theirs[3][0, 1] -= 0.5
    found = compared(theirs)
    assert found.mask == pytest.approx(0.5, abs=1e-3)
    assert found.mask_logit == 8
    assert found.score == pytest.approx(0.5, abs=1e-3)
    with pytest.raises(ExportError, match=r"masks by 5\.0e-01, scores by 5\.0e-01 \(tolerance 0\.0001\); nothing was"):
        check(found, 1e-4)


def test_another_name_is_refused_even_if_values_are_close() -> None:
    theirs = outputs()
    theirs[1] = theirs[1].flip(-1)
    with pytest.raises(ExportError, match="predicts different segments"):
        compared(theirs)


def test_a_nan_difference_is_refused() -> None:
    with pytest.raises(ExportError, match="masks by nan"):
        check(Parity(mask=float("nan")), 1e-4)


def test_pixels_may_differ_where_proposals_are_equal() -> None:
    check(Parity(pixels=1, of_pixels=10_000), 1e-4)
    with pytest.raises(ExportError, match="differ in 2 of 10000 pixels"):
        check(Parity(pixels=2, of_pixels=10_000), 1e-4)


def test_drawn_images_are_padded_to_the_stride_or_to_a_given_size() -> None:
    batch = drawn_batch((70, 121), 3)
    assert batch.images.shape == (1, 3, 96, 128)
    assert batch.valid_sizes == [(70, 121)]
    assert batch.images[0, :, 69, 120].any() and not batch.images[0, :, 70:].any()
    assert batch.images.min() >= 0 and batch.images.max() <= 1
    fixed = drawn_batch((200, 64), 3, (128, 160))
    assert fixed.images.shape == (1, 3, 128, 160)
    assert fixed.valid_sizes == [(128, 64)]
