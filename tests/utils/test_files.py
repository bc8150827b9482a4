"""Atomic writing: the old file or the whole new one."""

from __future__ import annotations

import json
import pickle
import resource
import signal
from pathlib import Path

import pytest
from safetensors import SafetensorError

from opsnet.utils.files import WriteError, atomic_path, remove_temporaries, shortened, write_json, write_text


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


def test_a_full_disk_is_a_sentence_and_the_old_file_stays(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead of the process
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(WriteError, match=r"a\.txt cannot be written \(File too large\): make room, or choose"):
            write_text(target, "new" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("path", ["file/a.txt", "/proc/x/a.txt", f"{'n' * 300}.txt"])
def test_a_path_that_cannot_be_is_a_sentence(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r" cannot be (made|written) \(.*\): choose another folder"):
        write_text(tmp_path / path, "a")


def test_an_error_of_a_file_that_is_read_is_not_that_of_the_one_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        (tmp_path / "no").read_text()


@pytest.mark.parametrize(
    "message",
    [
        'Error while serializing: I/O error: IoError(Os { code: 28, message: "No space left on device" })',
        "Error while serializing: I/O error: No space left on device (os error 28)",
    ],
)
def test_safetensors_error_on_a_full_disk_is_a_sentence(message: str, tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"No space left on device\): make room"), atomic_path(tmp_path / "a"):
        raise SafetensorError(message)
    with pytest.raises(SafetensorError), atomic_path(tmp_path / "a"):
        raise SafetensorError("shared memory")


def test_write_errors_pass_between_processes() -> None:
    error = pickle.loads(pickle.dumps(WriteError("a cannot be written")))
    assert (type(error), str(error)) == (WriteError, "a cannot be written")


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / f"{'ä' * 125}.txt"  # 254 bytes
    write_text(path, "a")
    assert list(tmp_path.iterdir()) == [path]


def test_shortened_names_are_distinct_and_fit() -> None:
    one, other = shortened("ä" * 150 + "1"), shortened("ä" * 150 + "2")
    assert one != other
    assert len(one.encode()) <= 200
    assert shortened("short") == "short"


def test_only_what_a_killed_process_leaves_is_removed(tmp_path) -> None:
    for name in (".a.b.123.png", ".hidden", ".a.png", "a.1.png", ".c.12.json"):
        (tmp_path / name).touch()
    remove_temporaries(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".hidden", ".a.png", "a.1.png"}
    remove_temporaries(tmp_path / "none")
