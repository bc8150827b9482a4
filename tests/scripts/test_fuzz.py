"""The fuzz notices what a reader must not do, saves it made smaller, and goes on after a case that hangs or dies."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from opsnet.utils.errors import InputError
from scripts.fuzz import __main__ as fuzz
from scripts.fuzz.cases import Case, Untrue
from scripts.fuzz.pool import Chunk, Pool
from scripts.fuzz.targets import Target

SECONDS = 0.5


def misbehave(case: str, folder: Path) -> None:
    """A reader that does what its input says."""
    if case == "refused":
        raise InputError(f"{folder / 'a.json'} is not valid json: replace the file")
    if case == "key":
        raise InputError("threshold must lie in 0..1: change `threshold`")
    if case == "nameless":
        raise InputError("something is wrong")
    if case == "long":
        raise InputError(str(folder) + "x" * 5000)
    if case == "traceback":
        raise KeyError("categories")
    if case == "untrue":
        raise Untrue("two readers disagree")
    if case == "slow":
        while time.process_time() < 1.2 * SECONDS:
            pass
    if case == "hang":
        time.sleep(60)
    if case == "dies":
        os._exit(3)
    if case == "memory":
        bytes(10 * 2**30)
    if case == "inside":
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text("")
    if case == "outside":
        Path("a.txt").write_text("")
    if case == "beside":
        (folder.parent / "other").mkdir(exist_ok=True)
    if case == "link":
        (folder / "link").symlink_to("/etc/hostname")
    if case == "reads":
        (folder.parent / "opsnet_canary.png").read_bytes()
    if case == "starts":
        os.system("true")


OUTCOMES = {
    "fine": "accepted", "refused": "refused", "key": "refused", "nameless": "message", "long": "refused",
    "traceback": "traceback", "untrue": "traceback", "hang": "hang", "dies": "died", "memory": "memory",
    "inside": "accepted", "outside": "outside", "beside": "outside", "link": "outside", "reads": "outside",
    "starts": "outside", "slow": "slow",
}  # fmt: skip


def test_what_a_reader_must_not_do_is_noticed(tmp_path: Path) -> None:
    names = list(OUTCOMES)
    target = Target("planted", names.__getitem__, misbehave, ("threshold",))
    (chunk,) = Pool(tmp_path, 1, SECONDS, 2).run([Chunk(target, 0, len(names))])
    found = {name: chunk.verdicts[seed].kind for seed, name in enumerate(names)}
    if found["slow"] == "hang":  # on a busy machine
        found["slow"] = "slow"
    assert found == OUTCOMES


def test_an_error_that_hides_that_memory_ran_out_is_a_failure(tmp_path: Path) -> None:
    def run(case: int, folder: Path) -> None:
        try:
            bytes(10 * 2**30)
        except MemoryError as error:
            raise InputError(f"{folder} cannot be read") from error

    (chunk,) = Pool(tmp_path, 1, SECONDS, 2).run([Chunk(Target("planted", int, run), 0, 1)])
    assert chunk.verdicts[0].kind == "memory"


def needs_id(case: Case, folder: Path) -> None:
    """A reader with a fault: an id that is a list."""
    case.write(folder)
    record = json.loads((folder / "a.json").read_text())[0]
    {record.get("id"): 1}


def test_a_failure_is_saved_as_a_small_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.dumps([{"name": "cat", "id": [1, 2]}, {"id": 5}]).encode()
    cases = [Case({"a.json": b"[{}]"}), Case({"a.json": content, "b.txt": b"not read"})]
    target = Target("planted", cases.__getitem__, needs_id)
    pool = Pool(tmp_path / "work", 2, SECONDS, 2)
    assert fuzz.run([target], pool, tmp_path / "out", cases=2) == 1
    (saved,) = (tmp_path / "out" / "failures").iterdir()
    assert [path.name for path in (saved / "files").iterdir()] == ["a.json"]
    assert (saved / "files" / "a.json").read_text() == '[{"id": []}]'
    about = (saved / "about.txt").read_text()
    assert "TypeError: unhashable type: 'list'" in about and "--only planted --first 1 --cases 1" in about
    assert "| planted | 2 | 0 | 1 |" in (tmp_path / "out" / "report.md").read_text()
    assert "planted 1: traceback" in capsys.readouterr().out


def test_an_interrupted_run_is_resumed(tmp_path: Path) -> None:
    seen = tmp_path / "seen"

    def run(case: int, folder: Path) -> None:
        os.write(descriptor, b"x")

    descriptor = os.open(seen, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    target, pool = Target("planted", int, run), Pool(tmp_path / "work", 1, SECONDS, 2)
    for cases, resume in ((250, False), (500, True), (500, True)):
        assert fuzz.run([target], pool, tmp_path / "out", cases=cases, resume=resume) == 0
    os.close(descriptor)
    assert seen.stat().st_size == 500
    assert "| planted | 500 | 0 | 500 |" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize("name", ["panoptic", "coco", "vocabularies", "scores", "yolo", "images"])
def test_a_case_is_the_same_for_the_same_seed(name: str) -> None:
    from scripts.fuzz import targets

    target = targets.load(name)
    first, again = ([target.case(seed) for seed in range(5)] for _ in range(2))
    assert first == again
    assert len({repr(case) for case in first}) > 1
