"""The journal's parts: written when due, read back to the digit, refused or removed if they do not fit."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from opsnet.evaluation import journal as module
from opsnet.evaluation.journal import Journal, JournalError, OpenPart, Part, new_parts, read_part, write_part
from opsnet.metrics.merging import PanopticTotals, State
from opsnet.metrics.panoptic_averages import PanopticCounts

COUNTS = PanopticCounts(*np.array([[1, 0], [0, 2], [3, 0]]), np.array([0.75, 0.0]))


@pytest.fixture
def part(tmp_path) -> OpenPart:
    return OpenPart(tmp_path, {"PQ": PanopticTotals(2)}, every=1e9)


def test_a_part_is_read_back_as_it_was(tmp_path) -> None:
    table = np.zeros((900, 900), np.int64)
    table[3, 5], table[899, 0] = 2**62, -1
    given = Part((4, 7), State({"a:b": table, "empty": np.zeros((0, 2), np.int64)}, {"c": {12: [1 / 3, "x", None]}}))
    write_part(tmp_path / "000004.json.gz", given)
    found = read_part(tmp_path / "000004.json.gz")
    assert found.batches == given.batches
    assert found.state.records == given.state.records
    assert found.state.sums.keys() == given.state.sums.keys()
    assert all(np.array_equal(found.state.sums[key], value) for key, value in given.state.sums.items())
    assert (tmp_path / "000004.json.gz").stat().st_size < 500, "pairs of classes that never meet take no space"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data[:-10] + bytes(10),
        lambda data: gzip.compress(b'{"batches": [1], "sums": {"a": [[2], [5], [1]]}, "records": {}}'),
        lambda data: gzip.compress(b'{"batches": [1], "sums": {"a": [[100000, 100000], [], []]}, "records": {}}'),
        lambda data: gzip.compress(b"[]"),
    ],
)
def test_damaged_parts_are_removed_and_their_batches_are_not_covered(damage, tmp_path, part) -> None:
    for index in (0, 1):
        with part.batch(index):
            part.metrics["PQ"].add(COUNTS)
        part.write()
    path = tmp_path / "000001.json.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(JournalError, match=r"000001\.json\.gz is damaged \(.*\): delete it"):
        read_part(path)
    assert Journal(tmp_path.parent).covered(tmp_path.name) == [0]
    assert not path.exists()


def test_parts_are_written_when_they_are_due(tmp_path, monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    part, metrics = OpenPart(tmp_path, {"PQ": PanopticTotals(2)}, every=30), []
    for index in range(20_000):  # two seconds each: eleven hours
        with part.batch(index):
            now[0] += 2
        metrics.append(len(part.batches))
    written = [path for path in metrics if path == 0]
    assert metrics[:15] == [*range(1, 15), 0], "half a minute at the beginning"
    assert max(metrics) * 2 <= module.SHARE * 40_000 + 2, "never more than a fiftieth of the time is lost"
    assert len(written) == len(list(tmp_path.iterdir())) < 300


def test_a_batch_that_failed_is_not_written(tmp_path, part) -> None:
    with part.batch(0):
        part.metrics["PQ"].add(COUNTS)
    part.write()
    with pytest.raises(ZeroDivisionError), part.batch(1):
        part.metrics["PQ"].add(COUNTS)
        _ = 1 / 0
    part.write()
    assert [read_part(path).batches for path in Journal(tmp_path.parent).parts(tmp_path.name)] == [(0,)]
    assert part.metrics["PQ"].counts().tp.sum() == 0


def test_parts_are_read_once(tmp_path, part) -> None:
    seen: set[Path] = set()
    for index in (3, 1):
        with part.batch(index):
            pass
        part.write()
        assert [one.batches for one in new_parts(Journal(tmp_path.parent), tmp_path.name, seen)] == [(index,)]


def test_the_journal_of_something_else_is_refused_and_an_equal_one_continued(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "journal"
    for made_by in ({"checkpoint": "a", "option panels": (1, 2)},) * 2:
        journal = Journal(folder)
        journal.open(made_by)
        journal.close()
    with pytest.raises(JournalError, match=r"something else \(checkpoint, versions differ\): give the command"):
        Journal(folder).open({"checkpoint": "b", "option panels": [1, 2], "versions": {}})
    monkeypatch.setattr(module, "FORMAT", module.FORMAT + 1)  # parts of an earlier version
    with pytest.raises(JournalError, match=r"something else \(format differ\)"):
        Journal(folder).open({"checkpoint": "a", "option panels": (1, 2)})
    (folder / "journal.json").write_text("{")
    with pytest.raises(JournalError, match=r"journal\.json is damaged .* delete"):
        Journal(folder).open({})


def test_two_evaluations_do_not_share_a_folder(tmp_path) -> None:
    first = Journal(tmp_path / "journal")
    first.open({})
    with pytest.raises(JournalError, match="in use by another evaluation"):
        Journal(tmp_path / "journal").open({})
    first.close()
    second = Journal(tmp_path / "journal")
    second.open({})
    second.remove()
    second.close()
    assert not list(tmp_path.iterdir())


def test_the_format_is_json(tmp_path, part) -> None:
    with part.batch(0):
        part.metrics["PQ"].add(COUNTS)
    part.write()
    content = json.loads(gzip.decompress((tmp_path / "000000.json.gz").read_bytes()))
    assert content["sums"]["PQ:fn"] == [[2], [0], [3]]
