"""The twenty kills: what is planned, what counts as lost and as different; two of them are done."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
import torch

from opsnet.utils.files import write_json
from scripts.faults.kills import Kill, compare, main, other_filesystem, schedule, steps_in, unfinished


def test_half_of_the_kills_are_in_a_save_and_a_quarter_no_sigkill() -> None:
    planned = schedule(20, random.Random(0))
    assert len(planned) == 20
    assert sum(in_save for _, in_save in planned) == 10
    numbers = [number for number, _ in planned]
    assert [numbers.count(n) for n in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)] == [15, 3, 2]
    assert schedule(20, random.Random(1)) != planned


def test_lost_steps_are_those_after_the_checkpoint() -> None:
    assert Kill(signal.SIGKILL, True, (), reached=8, resumed=6, code=-9).lost == 2
    assert Kill(signal.SIGTERM, True, (), reached=8, resumed=9, code=143).lost == 0


def test_steps_are_read_from_the_output() -> None:
    assert steps_in("[x] - step 3 of 48, loss 1.5\ninterrupted at step 4\n[x] - step 12 of 48, loss") == [3, 12]


def test_files_of_an_unfinished_checkpoint(tmp_path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("last.ckpt", ".last.7.part", ".last.7.link"):
        (folder / name).touch()
    assert unfinished(tmp_path) == (".last.7.link", ".last.7.part")


def write_run(folder: Path, *, weight: float = 1, average: float = 2, loss: str = "3", score: float = 4) -> Path:
    write_json(folder / "results.json", {"metrics": {"val/PQ": score}, "seconds": folder.name})
    (folder / "metrics.csv").write_text(f"step,loss\n0,{loss}\n")
    (folder / "checkpoints").mkdir()
    content = {"state_dict": {"a": torch.tensor(weight)}, "ema": {"weights": {"a": torch.tensor(average)}}}
    torch.save(content, folder / "checkpoints" / "last.ckpt")
    return folder


def test_every_difference_is_found(tmp_path) -> None:
    reference = write_run(tmp_path / "reference")
    assert compare(write_run(tmp_path / "same"), reference) == []
    changed = {"weight": 1.001, "average": 0, "loss": "3.0", "score": 5}
    names = {"weight": "weights", "average": "average", "loss": "metrics.csv", "score": "results.json"}
    for key, value in changed.items():
        assert compare(write_run(tmp_path / key, **{key: value}), reference) == [names[key]]


def test_the_runs_are_on_another_filesystem(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert other_filesystem().stat().st_dev != tmp_path.stat().st_dev


@pytest.mark.slow
def test_a_chain_of_two_kills(capsys) -> None:
    assert main(["--kills", "2", "--chains", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("| -9 |") == 2
    assert "equal to the bit" in printed
