"""Indices on disk: used again, made anew where they do not fit, and shared by processes."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from shard_writing import write_shards

from opsnet.data import shard_cache
from opsnet.data.shard_cache import load_first_indices, load_indices
from opsnet.data.shard_index import ShardIndex, index_shard
from opsnet.data.shard_labels import LabelSource
from opsnet.utils.errors import DatasetError

CLS = LabelSource("cls")


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return write_shards(tmp_path / "shards", [3, 0, 2])


def same(ours: list[ShardIndex], theirs: list[ShardIndex]) -> bool:
    arrays = all(
        np.array_equal(getattr(a, name), getattr(b, name)) and getattr(a, name).dtype == getattr(b, name).dtype
        for a, b in zip(ours, theirs, strict=True)
        for name in ("blocks", "sizes", "codes")
    )
    return arrays and [(a.values, a.samples, a.faults) for a in ours] == [
        (b.values, b.samples, b.faults) for b in theirs
    ]


def count(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the shards that are read from now on."""
    read: list[str] = []
    monkeypatch.setattr(
        shard_cache, "index_shard", lambda path, label: read.append(path.name) or index_shard(path, label)
    )
    return read


def test_the_cache_holds_what_the_shards_say(paths, tmp_path, monkeypatch) -> None:
    fresh = [index_shard(path, CLS) for path in paths]
    read = count(monkeypatch)
    assert same(load_indices(paths, CLS, tmp_path / "cache"), fresh)
    assert len(read) == 3
    assert same(load_indices(paths, CLS, tmp_path / "cache"), fresh)
    assert len(read) == 3
    assert same(load_indices(paths, CLS, None), fresh)
    assert len(read) == 6


def test_a_shard_that_changed_and_other_labels_are_read_again(paths, tmp_path, monkeypatch) -> None:
    load_indices(paths, CLS, tmp_path / "cache")
    read = count(monkeypatch)
    os.utime(paths[0], ns=(1, 1))
    load_indices(paths, CLS, tmp_path / "cache")
    assert read == [paths[0].name]
    load_indices(paths, LabelSource("json.label"), tmp_path / "cache")
    assert len(read) == 4


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff" * 100])
def test_a_damaged_file_is_made_anew(damage, paths, tmp_path, monkeypatch, caplog) -> None:
    fresh = load_indices(paths, CLS, tmp_path / "cache")
    for file in (tmp_path / "cache").glob("*.safetensors"):
        file.write_bytes(damage)
    read = count(monkeypatch)
    assert same(load_indices(paths, CLS, tmp_path / "cache"), fresh)
    assert len(read) == 3
    assert "cannot be read" in caplog.text and "indexing its shard again" in caplog.text
    assert same(load_indices(paths, CLS, tmp_path / "cache"), fresh)
    assert len(read) == 3


def test_an_index_whose_parts_do_not_fit_is_not_used(paths, tmp_path, monkeypatch) -> None:
    index = index_shard(paths[0], CLS)
    wrong = ShardIndex(index.blocks, index.sizes, index.codes + 7, index.values, index.samples, index.faults)
    shard_cache._write(shard_cache._file(paths[0], CLS, tmp_path), wrong)
    assert same(load_indices(paths[:1], CLS, tmp_path), [index])


def test_a_folder_that_cannot_be_written_only_costs_time(paths, tmp_path, caplog) -> None:
    (tmp_path / "file").write_text("")
    assert len(load_indices(paths, CLS, tmp_path / "file" / "cache")) == 3
    assert "cannot be made" in caplog.text


def test_a_limit_reads_only_the_shards_that_it_needs(paths, tmp_path, monkeypatch) -> None:
    read = count(monkeypatch)
    assert [len(i) for i in load_first_indices(paths, CLS, tmp_path / "cache", 3)] == [3]
    assert [len(i) for i in load_first_indices(paths, CLS, tmp_path / "cache", 4)] == [3, 0, 2]
    assert len(read) == 3


def test_many_shards_are_indexed_by_processes_and_a_damaged_one_is_named(tmp_path) -> None:
    paths = write_shards(tmp_path / "shards", [1] * (shard_cache.FEW + 2))
    fresh = [index_shard(path, CLS) for path in paths]
    assert same(load_indices(paths, CLS, tmp_path / "cache"), fresh)
    paths[4].write_bytes(paths[4].read_bytes()[:700])
    with pytest.raises(DatasetError, match=rf"shard {paths[4]} "):
        load_indices(paths, CLS, None)


@pytest.mark.slow
def test_processes_that_start_together_index_a_shard_once(tmp_path) -> None:
    paths = write_shards(tmp_path / "shards", [200] * 4)
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_indexed, [(paths, tmp_path / "cache")] * 3))
    assert sorted(found) == [0, 0, 4]


def _indexed(given: tuple[list[Path], Path]) -> int:
    """The number of shards that this process read."""
    with pytest.MonkeyPatch.context() as patch:
        read = count(patch)
        load_indices(given[0], CLS, given[1])
    return len(read)
