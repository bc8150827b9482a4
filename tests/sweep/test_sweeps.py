"""Sweeps of real trainings: on several processes, with failures and kills, through submitit, on two nodes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from small_training import SMALL

ROOT = Path(__file__).parents[2]


def sweep(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "opsnet.train", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=1500,
    )  # fmt: skip


def metrics(folder: Path) -> dict[str, float]:
    return json.loads((folder / "results.json").read_text())["metrics"]


@pytest.fixture
def small(world_overrides, tmp_path) -> list[str]:
    return [*world_overrides, *SMALL, f"paths.runs={tmp_path}"]


@pytest.fixture
def small_ddp(small) -> list[str]:
    """The same for trainer=ddp, which leaves more to Lightning's defaults."""
    forced = [f"++{o}" if o.startswith("trainer.") else o for o in small]
    return [*forced, "trainer=ddp", "++trainer.precision=32", "++trainer.max_epochs=1"]


@pytest.mark.slow
@pytest.mark.parametrize("axis", ["seed=0,1", "trainer.devices=1,2"])
def test_a_ddp_sweep_makes_one_folder_a_job(axis, small_ddp, tmp_path) -> None:
    small_ddp += ["trainer.devices=2"] if axis.startswith("seed") else []
    done = sweep("-m", *small_ddp, axis)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tmp_path / "train").iterdir()
    assert sorted(p.name for p in folder.iterdir()) == ["0", "1", "multirun.yaml"]
    assert all(metrics(folder / name) for name in "01")


def kill_at_first_checkpoint(folder: Path, hint: str) -> None:
    """Kills the first process whose command line holds ``hint`` once ``folder`` has a checkpoint."""
    while not (folder / "checkpoints" / "last.ckpt").is_file():
        time.sleep(0.02)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except OSError:
            continue
        if hint in words and "hydra.mode=RUN" in words:
            os.kill(int(path.parent.name), signal.SIGKILL)
            return


@pytest.mark.slow
def test_a_sweep_with_a_failure_and_a_kill_goes_on_where_it_stopped(small, world, tmp_path) -> None:
    from opsnet.clip.tiny import tiny_clip

    clips = [tmp_path / f"clip{i}.pt" for i in range(6)]
    for seed, path in enumerate(clips):
        torch.manual_seed(seed)
        torch.save({"state_dict": tiny_clip().state_dict()}, path)
    clips[2].rename(tmp_path / "hidden.pt")
    axis = "clip.model.weights=" + ",".join(map(str, clips))
    jobs = ["-m", *small, axis, "trainer.max_epochs=2", "launcher.jobs=2"]
    folder = tmp_path / "train" / "sweep"
    run = f"hydra.run.dir='{folder / '4'}'"
    threading.Thread(target=kill_at_first_checkpoint, args=(folder / "4", run), daemon=True).start()
    first = sweep(*jobs, f"hydra.sweep.dir={folder}")
    assert first.returncode == 1, first.stdout + first.stderr
    assert "4 of 6 jobs finished" in first.stdout
    failed = [line for line in first.stderr.splitlines() if line.startswith("failed: ")]
    assert [str(folder / n) in line for n, line in zip("24", failed, strict=True)] == [True, True]
    assert "clip2.pt" in failed[0]
    assert "killed by SIGKILL" in failed[1]
    before = {n: (folder / n / "results.json").stat().st_mtime_ns for n in "0135"}
    (tmp_path / "hidden.pt").rename(clips[2])
    second = sweep(*jobs, "skip_done=true")
    assert second.returncode == 0, second.stdout + second.stderr
    assert f"resumes {folder}" in second.stdout
    assert "4 of 6 jobs are already finished" in second.stdout
    assert before == {n: (folder / n / "results.json").stat().st_mtime_ns for n in "0135"}
    clean = sweep(*jobs, f"hydra.sweep.dir={tmp_path / 'clean'}")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    ours, theirs = ([metrics(f / str(i)) for i in range(6)] for f in (folder, tmp_path / "clean"))
    assert ours == theirs
    assert len({json.dumps(m) for m in ours}) > 1


@pytest.mark.slow
def test_submitit_runs_the_sweep_and_a_preempted_job_goes_on(trained, small, tmp_path) -> None:
    """The signal of a preemption reaches submitit's process; the job is queued again and ends as if undisturbed."""
    folder = tmp_path / "sweep"
    thread = threading.Thread(target=preempt, args=(folder,), daemon=True)
    thread.start()
    jobs = ["-m", *small, "model.query_decoder.queries=8,9", f"hydra.sweep.dir={folder}", "launcher=submitit_local"]
    done = sweep(*jobs)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not thread.is_alive()
    assert metrics(folder / "0") == trained.metrics
    assert metrics(folder / "1") != trained.metrics
    assert "resume=" in (folder / "0" / ".hydra" / "overrides.yaml").read_text()


def preempt(folder: Path) -> None:
    while not (folder / "0" / "checkpoints" / "last.ckpt").is_file():
        time.sleep(0.02)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            training = f"hydra.run.dir='{folder / '0'}'" in path.read_bytes().decode().split("\0")
            parent = int((path.parent / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if training and b"submitit.core._submit" in Path(f"/proc/{parent}/cmdline").read_bytes():
            os.kill(parent, signal.SIGUSR2)
            return


def node(kind: str, rank: int, port: int) -> dict[str, str]:
    """The environment of the only process of a node of two."""
    if kind == "torchrun":
        given = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "NODE_RANK": rank, "GROUP_RANK": rank}
        given |= {"LOCAL_WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "test"}
    else:
        given = {"SLURM_STEP_ID": 0, "SLURM_JOB_ID": 77, "SLURM_JOB_NAME": "opsnet", "SLURM_NODELIST": "127.0.0.1"}
        given |= {"SLURM_NTASKS": 2, "SLURM_NTASKS_PER_NODE": 1, "SLURM_NNODES": 2, "SLURM_PROCID": rank}
        given |= {"SLURM_LOCALID": 0, "SLURM_NODEID": rank}
    return {key: str(value) for key, value in (given | {"MASTER_PORT": port}).items()}


@pytest.mark.slow
def test_two_nodes_train_as_one_machine_with_two_processes(small_ddp, tmp_path, monkeypatch) -> None:
    # Lightning shares a machine's cores among its processes, and the number of threads decides the last digit of a sum.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    one = sweep(*small_ddp, "trainer.devices=2", f"hydra.run.dir={tmp_path / 'one'}")
    assert one.returncode == 0, one.stdout + one.stderr
    for kind, name in (("torchrun", "torchrun_test"), ("slurm", "slurm_77")):
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        arguments = [sys.executable, "-m", "opsnet.train", *small_ddp, "trainer.devices=1", "+trainer.num_nodes=2"]
        processes = [
            subprocess.Popen(arguments, cwd=ROOT, env={**os.environ, **node(kind, rank, port)}) for rank in (0, 1)
        ]
        assert [process.wait(600) for process in processes] == [0, 0]
        assert [p.parent.name for p in (tmp_path / "train").glob(f"{kind}*/results.json")] == [name]
        assert metrics(tmp_path / "train" / name) == metrics(tmp_path / "one")
