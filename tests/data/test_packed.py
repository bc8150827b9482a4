"""PackedRecords: the list back, one at a time."""

from __future__ import annotations

import pickle

import pytest

from opsnet.data.packed import PackedRecords

RECORDS = [[1, "a", []], {"b": [2, 3]}, "ü", 4, None, []]


def test_records_come_back_in_order() -> None:
    packed = PackedRecords(RECORDS)
    assert len(packed) == 6
    assert list(packed) == RECORDS
    assert packed[-1] == [] and packed[-6] == RECORDS[0]


@pytest.mark.parametrize("index", [6, -7])
def test_there_is_no_record_beyond_the_ends(index: int) -> None:
    with pytest.raises(IndexError):
        PackedRecords(RECORDS)[index]


def test_none_at_all_and_pickled() -> None:
    assert list(PackedRecords([])) == []
    assert list(pickle.loads(pickle.dumps(PackedRecords(RECORDS)))) == RECORDS
