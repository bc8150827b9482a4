"""dense_index: every id to its place in the table, by remainders or by a search."""

from __future__ import annotations

import numpy as np
import pytest

from opsnet.metrics import panoptic_arithmetic
from opsnet.metrics.panoptic_arithmetic import SegmentTable, UnlistedSegmentError, dense_index


def table(ids: list[int] | np.ndarray) -> SegmentTable:
    ids = np.asarray(ids, np.int64)
    return SegmentTable("prediction", ids, np.zeros(ids.size, np.int64), np.zeros(ids.size, bool))


@pytest.mark.parametrize("is_searched", [False, True])
@pytest.mark.parametrize("number", [0, 1, 20, 256, 257])
@pytest.mark.parametrize("kind", ["colours", "in order", "thousands", "with 0"])
@pytest.mark.parametrize("dtype", [np.uint32, np.int64])
def test_ids_are_found(is_searched, number, kind, dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    if is_searched:
        monkeypatch.setattr(panoptic_arithmetic, "_separating_modulus", lambda ids: None)
    rng = np.random.default_rng(number)
    ids = {
        "colours": rng.choice(np.arange(1, 2**24), number, replace=False),
        "in order": np.arange(1, number + 1),
        "thousands": 1000 * rng.permutation(np.arange(1, number + 1)),
        "with 0": rng.permutation(number),
    }[kind]
    places = rng.integers(0, number + 1, 500)
    values = np.append(0, ids)[places].astype(dtype)
    expected = [1 + ids.tolist().index(value) if value in ids else 0 for value in values.tolist()]
    assert dense_index(values, table(ids)).tolist() == expected
    values[7] = unlisted = 2**24 - 1 if kind != "colours" else next(i for i in range(1, 10**6) if i not in ids)
    with pytest.raises(UnlistedSegmentError) as error:
        dense_index(values, table(ids))
    assert error.value.segment_id == unlisted
