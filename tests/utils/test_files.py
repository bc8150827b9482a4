"""Atomic writing: the old file or the whole new one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opsnet.utils.files import atomic_path, write_json, write_text


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.txt"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent  # on one file system, or the renaming would not be atomic
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, failure: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(failure), atomic_path(target) as temporary:
        temporary.write_text("half of the n")
        raise failure
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.txt"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.png", "model.v2.pt"])
def test_the_temporary_file_keeps_the_suffix(tmp_path: Path, name: str) -> None:
    with atomic_path(tmp_path / name) as temporary:
        assert temporary.suffix == Path(name).suffix
        assert temporary.name != name
        temporary.touch()


def test_text_is_utf8(tmp_path: Path) -> None:
    write_text(str(tmp_path / "a.txt"), "Käse\n")
    assert (tmp_path / "a.txt").read_bytes() == b"K\xc3\xa4se\n"


def test_json_is_indented_and_ends_with_a_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"pq": [0.5]})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"pq": [0.5]}
    assert text.startswith('{\n  "pq"')
    assert text.endswith("}\n")


def test_a_value_that_json_cannot_hold_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", object())
    assert (tmp_path / "a.json").read_text() == "1\n"
