"""The matrix of faults: its judgement sees what it must see, and one column of it is good."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from scripts.faults import __main__ as faults
from scripts.faults import processes
from scripts.faults.cell import Judged
from scripts.faults.injectors import DAY, all_faults
from scripts.faults.jobs import JOBS
from scripts.faults.judging import (
    HANG,
    LOST,
    OK,
    TRACEBACK,
    UNTRUE,
    Problem,
    last_line,
    problems_of_files,
    problems_of_loss,
    problems_of_outcome,
    problems_of_part,
    problems_of_result,
    verdict,
)
from scripts.faults.processes import PLANTED, Command, Ended
from scripts.faults.table import details, matrix
from scripts.faults.wandb_server import WandbServer

linux = pytest.mark.skipif(sys.platform != "linux", reason="make faults reads /proc")


def kinds(problems: list[Problem]) -> list[str]:
    return [problem.kind for problem in problems]


# --- outcome ----------------------------------------------------------------------------------------------------------


def test_a_sentence_and_the_right_code_are_good() -> None:
    text = "[2026-01-01 10:00:00,000][opsnet][INFO] - step 8 of 18\nerror: the disk is full: make room"
    assert problems_of_outcome(Ended(2, text), (0, 2), text) == []
    assert last_line("[2026-01-01 10:00:00,000][opsnet][INFO] - step 8\n\n") == "step 8"


TRACE = 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\nOSError: no space left'


@pytest.mark.parametrize(
    ("ended", "expected"),
    {
        "a traceback": (Ended(1, TRACE), [TRACEBACK]),
        "a code that does not say what happened": (Ended(0, "saved"), [TRACEBACK]),
        "a crash": (Ended(-7, "step 3"), [TRACEBACK]),
        "no sentence": (Ended(2, " \n"), [TRACEBACK]),
        "no end": (Ended(None, "step 3", seconds=120.0), [HANG]),
        "a child that outlives it": (Ended(2, "error: x", ("python -m opsnet.train",)), [HANG]),
    }.values(),
)  # fmt: skip
def test_a_bad_end_is_seen(ended: Ended, expected: list[str]) -> None:
    assert kinds(problems_of_outcome(ended, (1, 2), ended.text)) == expected


def test_a_traceback_in_the_log_of_a_job_is_seen() -> None:
    assert kinds(problems_of_outcome(Ended(1, "job 0 failed"), (1,), TRACE + "\njob 0 failed")) == [TRACEBACK]


# --- files ------------------------------------------------------------------------------------------------------------


def write_panoptic(folder: Path) -> None:
    from PIL import Image

    (folder / "panoptic").mkdir()
    for name in "ab":
        Image.new("RGB", (40, 30), (name == "a", 2, 3)).save(folder / "panoptic" / f"{name}.png")
    entries = [{"image_id": i, "file_name": f"{name}.png"} for i, name in enumerate("ab")]
    (folder / "panoptic.json").write_text(json.dumps({"annotations": entries}))
    (folder / "segments.csv").write_text("file,name\na.png,cat\nb.png,a long name\n")
    (folder / ".half.json").write_text("{")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def test_whole_files_are_good_and_hidden_ones_do_not_count(tmp_path: Path) -> None:
    write_panoptic(tmp_path)
    assert problems_of_files(tmp_path) == []


@pytest.mark.parametrize("name", ["panoptic.json", "segments.csv", "panoptic/a.png", "last.ckpt"])
def test_a_file_that_is_cut_off_is_seen(name: str, tmp_path: Path) -> None:
    import torch

    write_panoptic(tmp_path)
    content = {"state_dict": {"model.weight": torch.zeros(100)}, "opsnet": {"clip_hash": "abc", "config": {}}}
    torch.save(content, tmp_path / "last.ckpt")
    assert problems_of_files(tmp_path) == []
    cut(tmp_path / name)
    (problem,) = problems_of_files(tmp_path)
    assert problem.kind == LOST
    assert problem.sentence.startswith(f"{name} is not whole")


def test_a_json_that_lists_a_map_that_is_not_there_is_seen(tmp_path: Path) -> None:
    write_panoptic(tmp_path)
    (tmp_path / "panoptic" / "b.png").unlink()
    (problem,) = problems_of_files(tmp_path)
    assert problem.kind == LOST
    assert "b.png, which does not exist (1 of 2)" in problem.sentence


# --- results ----------------------------------------------------------------------------------------------------------

UNDISTURBED = {"metrics": {"val/PQ": 4.5}, "weights": "abc"} | {f"step {i}: train/loss": str(i) for i in range(3)}


@pytest.mark.parametrize(
    ("change", "expected"),
    {
        "nothing": ({}, []),
        "another metric": ({"metrics": {"val/PQ": 4.6}}, [UNTRUE]),
        "one more": ({"image 25": {}}, [UNTRUE]),
        "no weights": ({"weights": None}, [LOST]),
        "a row of a step, which Lightning writes after it": ({"step 1: train/loss": None}, []),
        "rows of two steps": ({"step 1: train/loss": None, "step 2: train/loss": None}, [LOST]),
    }.values(),
)
def test_a_result_is_compared_with_the_undisturbed_one(change: dict, expected: list[str]) -> None:
    found = {key: value for key, value in {**UNDISTURBED, **change}.items() if value is not None}
    assert kinds(problems_of_result(found, UNDISTURBED)) == expected


def test_a_part_may_lack_things_but_not_contradict() -> None:
    assert problems_of_part({"weights": "abc"}, UNDISTURBED) == []
    assert kinds(problems_of_part({"weights": "abd"}, UNDISTURBED)) == [UNTRUE]


def test_more_than_an_interval_is_lost() -> None:
    assert problems_of_loss(6, 6, "steps") == []
    assert kinds(problems_of_loss(7, 6, "steps")) == [LOST]


def test_the_verdict_is_the_worst_problem() -> None:
    assert verdict([]) == OK
    assert verdict([Problem(TRACEBACK, ""), Problem(UNTRUE, ""), Problem(LOST, "")]) == UNTRUE


# --- processes and plants ---------------------------------------------------------------------------------------------

CHILD = """
import os, sys, time
if os.fork() == 0:
    time.sleep(60)
print("error: no", flush=True)
time.sleep(60 if "wait" in sys.argv else 0)
os._exit(2)
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(processes, "GRACE", 0.5)
    (tmp_path / "forking.py").write_text(CHILD)

    def run(*arguments: str) -> Command:
        return Command(["forking", *arguments], log=tmp_path / "log.txt", temporary=tmp_path / "cell" / "tmp")

    return run


@linux
def test_a_process_that_outlives_its_parent_is_found_and_killed(start) -> None:
    command = start()
    ended = command.wait(20)
    assert (ended.code, ended.text) == (2, "error: no\n")
    assert len(ended.left) == 1
    assert "forking" in ended.left[0]
    for _ in range(500):  # a killed process is there until it has returned its memory
        if not command.processes():
            return
        time.sleep(0.01)
    assert command.processes() == []


@linux
def test_workers_are_told_from_the_process_that_was_started(start) -> None:
    command = start("wait")
    while "error" not in command.text():
        time.sleep(0.01)
    (worker,) = command.workers()
    assert worker != command.pid
    os.kill(worker, signal.SIGKILL)
    assert not command.has_ended()
    assert command.wait(0.1).code is None


def test_the_planted_clock_jumps_while_the_file_is_there(tmp_path: Path) -> None:
    code = "import time; print(time.time(), time.time_ns() / 1e9, time.monotonic())"
    environment = {**os.environ, "PYTHONPATH": str(PLANTED), "OPSNET_FAULT_CLOCK": str(tmp_path / "jumped")}

    def clocks() -> list[float]:
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        return [float(word) for word in run.stdout.split()]

    before = clocks()
    (tmp_path / "jumped").touch()
    after = clocks()
    assert [round((b - a) / DAY) for a, b in zip(before, after, strict=True)] == [-1, -1, 0]


def test_the_wandb_server_goes_away() -> None:
    server = WandbServer()
    query = json.dumps({"query": "mutation { upsertBucket }", "variables": {"name": "abc"}}).encode()

    def ask() -> dict:
        return json.load(urllib.request.urlopen(f"{server.address}/graphql", query, timeout=5))

    assert ask()["data"]["upsertBucket"]["bucket"]["name"] == "abc"
    assert server.asked == 1
    server.close()
    with pytest.raises(OSError, match="refused"):
        ask()


# --- the command ------------------------------------------------------------------------------------------------------


def test_only_chooses_rows_and_columns() -> None:
    assert len(faults.chosen("")) == len(all_faults()) * len(JOBS)
    assert [(f.name, j.name) for f, j in faults.chosen("train,predict,TERM")] == [
        ("TERM", "train"),
        ("TERM", "predict"),
    ]
    with pytest.raises(SystemExit, match="--only has no trane: give names out of train, evaluate"):
        faults.chosen("trane")


def test_the_tables_show_what_was_lost_and_what_is_bad() -> None:
    bad = Judged("TERM", "predict", LOST, "exit -15: ", "6 of 6 images", (Problem(LOST, "6 images lost"),))
    cells = [Judged("TERM", "train", OK, "exit 143: interrupted", "1 of 8 steps"), bad]
    assert "| TERM | 1 of 8 steps | lost |" in matrix(cells).markdown()
    assert "**Failed:** TERM, predict: lost: 6 images lost" in details(cells).markdown()


@pytest.mark.slow
@linux
def test_no_fault_breaks_a_preparation(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert faults.main(["--only", "preparation", "--folder", str(tmp_path / "faults")]) == 0, capfd.readouterr().out
    report = (tmp_path / "faults" / "report.md").read_text()
    assert "13 cells, 0 bad" in report
    assert "| kill | preparation | ok | exit -9" in report
