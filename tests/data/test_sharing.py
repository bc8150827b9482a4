"""Sharing a step's images: the same total on any number of devices, or a sentence with the fix."""

from __future__ import annotations

import pytest

from opsnet.data.sharing import batch_share, batches_per_step
from opsnet.utils.errors import DatasetError

COCO, PLUS = {"batch_size": 16}, {"batch_size": 8, "label_batch_size": 8}


@pytest.mark.parametrize(
    ("totals", "devices", "most", "batches"),
    [
        (COCO, 1, 2, 8), (COCO, 2, 2, 4), (COCO, 4, 2, 2), (COCO, 8, 2, 1), (COCO, 16, 2, 1), (COCO, 1, None, 1),
        (COCO, 1, 3, 8),  # in fives and sixes it would not be the mean of equal batches
        (PLUS, 1, 2, 4), (PLUS, 2, 2, 2), (PLUS, 8, 2, 1), ({"batch_size": 8, "label_batch_size": 4}, 1, 2, 4),
        ({"batch_size": 1}, 1, 2, 1),
    ],
)  # fmt: skip
def test_a_device_takes_no_more_at_once_than_it_may(totals, devices, most, batches) -> None:
    assert batches_per_step(totals, devices, most) == batches
    assert all(batch_share(k, t, devices, batches) * devices * batches == t for k, t in totals.items())


@pytest.mark.parametrize(("total", "devices", "accumulate", "multiple"), [(16, 3, 1, 15), (1, 8, 1, 8), (10, 2, 4, 8)])
def test_a_total_that_cannot_be_shared_equally(total, devices, accumulate, multiple) -> None:
    with pytest.raises(DatasetError) as error:
        batch_share("batch_size", total, devices, accumulate)
    message = str(error.value)
    assert (
        f"data.module.batch_size={total} images per step in total cannot be split equally over {devices} d" in message
    )
    assert f"such as data.module.batch_size={multiple}," in message
    assert ("accumulate_grad_batches=4" in message) is (accumulate == 4)


def test_two_totals_that_fit_no_common_number_of_batches() -> None:
    with pytest.raises(DatasetError, match="batch_size=8, data.module.label_batch_size=3 .* give both the same"):
        batches_per_step({"batch_size": 8, "label_batch_size": 3}, 1, 2)
