"""PackedRecords: the list back, one at a time."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Iterable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

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


def grown_in_a_child(records: Iterable[object]) -> float:
    """Private megabytes that a forked process gains by looking at every record once."""

    def child(end: Connection) -> None:
        gc.disable()
        before = private_megabytes()
        for record in records:
            str(record)
        end.send(private_megabytes() - before)

    here, there = get_context("fork").Pipe()
    process = get_context("fork").Process(target=child, args=(there,))
    process.start()
    grown = here.recv()
    process.join()
    return float(grown)


def private_megabytes() -> float:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").is_file(), reason="memory is read from /proc of Linux")
def test_a_worker_that_reads_all_records_copies_none() -> None:
    records = [[n, f"{n}.jpg", f"{n}.png", [[n, n + 1, n + 2]] * 3] for n in range(100_000)]
    packed = PackedRecords(records)
    assert grown_in_a_child(records) > 20
    assert grown_in_a_child(packed) < 5
