"""The jobs of a sweep: processes of their own, here, through submitit, and on several nodes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from opsnet.commands import train
from opsnet.sweep import launch
from opsnet.sweep.cluster import rank_arguments, submit
from opsnet.sweep.launch import Job, Outcome, environment, explain, run_locally, stoppable
from opsnet.sweep.report import Report, duration, names
from opsnet.sweep.sweep import check_folder, identity, newest_sweep
from opsnet.utils.errors import InputError
from opsnet.utils.stop_signals import Stopped

ROOT = Path(__file__).parents[2]
FINISH = (
    "import json, pathlib, sys; pathlib.Path(sys.argv[1], 'results.json').write_text(json.dumps({'metrics': {'a': 1}}))"
)
WAIT = "import time; time.sleep(60)"


def job(folder: Path, number: int = 0, *overrides: str) -> Job:
    return Job(number, folder / str(number), overrides or (f"seed={number}",))


@pytest.fixture
def scripts(monkeypatch) -> dict[int, str]:
    """Number of a job -> what it runs in place of a training."""
    codes: dict[int, str] = {}
    monkeypatch.setattr(Job, "command", lambda j: [sys.executable, "-c", codes[j.number], str(j.folder)])
    return codes


# --- one job ----------------------------------------------------------------------------------------------------------


def test_a_job_is_a_single_run_in_its_folder(tmp_path) -> None:
    command = Job(3, tmp_path / "a=b", ("seed=1", "resume=auto"), ("hydra.verbose=true",)).command()
    assert command[1:] == [
        "-m", "opsnet.train", "hydra.verbose=true", "seed=1", "resume=auto",
        f"hydra.run.dir='{tmp_path}/a=b'", "hydra.mode=RUN",
    ]  # fmt: skip


def test_a_job_may_be_of_another_command(tmp_path) -> None:
    made = Job(0, tmp_path, ("table=6",), module="opsnet.evaluate")
    assert made.command()[1:4] == ["-m", "opsnet.evaluate", "table=6"]


def test_a_job_with_a_checkpoint_goes_on_from_it(tmp_path) -> None:
    started = Job(0, tmp_path, ("seed=1", "resume=null"))
    assert "resume=auto" not in started.command()
    started.checkpoint.parent.mkdir()
    started.checkpoint.with_name("last.previous.ckpt").touch()  # a damaged last.ckpt was removed by hand
    assert "resume=null" not in started.command()
    assert "resume=auto" in started.command()


def test_a_job_inherits_no_rank() -> None:
    given = {"LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_PORT": "1", "TORCHELASTIC_RUN_ID": "a", "SLURM_NTASKS": "8"}
    assert environment(given | {"PATH": "x", "WANDB_MODE": "y"}) == {"PATH": "x", "WANDB_MODE": "y"}


@pytest.mark.parametrize(
    ("code", "text", "cause", "tail"),
    [
        (2, "error: an old one\nnoise\nerror: no data\n", "no data", ""),
        (1, "Traceback\n  line\nRuntimeError: boom\n", "RuntimeError: boom", "Traceback\n  line\nRuntimeError: boom"),
        (-9, "step 3\n", "killed by SIGKILL", "step 3"),
        (0, "", "ended without results.json", ""),
        (5, "", "exit code 5", ""),
    ],
)
def test_the_cause_of_a_failure(code, text, cause, tail) -> None:
    assert explain(code, text) == (cause, tail)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"metrics": {}}', '{"metrics": {"val/PQ": 3'])
def test_results_that_say_nothing_are_no_end(text, tmp_path) -> None:
    (tmp_path / "results.json").write_text(text)
    assert not Job(0, tmp_path, ()).finished()


# --- jobs on this machine ---------------------------------------------------------------------------------------------


def test_a_failure_and_a_kill_are_reported_and_the_rest_go_on(tmp_path, scripts, capfd) -> None:
    scripts |= {0: FINISH, 1: "import sys; sys.exit('error: no data')", 3: FINISH}
    scripts[2] = "import os; print('a step', flush=True); os.kill(os.getpid(), 9)"
    jobs = [job(tmp_path, i) for i in range(4)]
    report = Report(jobs, skipped=0)
    run_locally(jobs, 2, None, report)
    report.close()
    printed = capfd.readouterr()
    assert [(o.job.number, o.cause) for o in sorted(report.failed, key=lambda o: o.job.number)] == [
        (1, "no data"), (2, "killed by SIGKILL"),
    ]  # fmt: skip
    assert f"failed: job 1 (seed=1) in {tmp_path / '1'}: no data" in printed.err
    assert f"failed: job 2 (seed=2) in {tmp_path / '2'}: killed by SIGKILL" in printed.err
    assert "skip_done=true" in printed.err
    assert "2 of 4 jobs finished" in printed.out
    assert "    | a step" in printed.out
    assert "left" in printed.out.splitlines()[0]
    assert "a step" in jobs[2].log.read_text()


def test_a_job_whose_folder_is_removed_says_why_it_failed(tmp_path, scripts) -> None:
    scripts[0] = "import shutil, sys; shutil.rmtree(sys.argv[1]); sys.exit('error: its folder was removed')"
    outcomes: list[Outcome] = []
    run_locally([job(tmp_path)], 1, None, outcomes.append)
    assert [o.cause for o in outcomes] == ["its folder was removed"]


@pytest.mark.parametrize(("at_once", "together"), [(1, 1), (2, 2)])
def test_as_many_jobs_at_once_as_asked(at_once, together, tmp_path, scripts) -> None:
    count = "import time, pathlib; p = pathlib.Path(sys.argv[1]); (p / 'on').touch(); time.sleep(1.5); "
    count += "n = len(list(p.parent.glob('*/on'))); (p / 'n').write_text(str(n)); (p / 'on').unlink()"
    jobs = [job(tmp_path, i) for i in range(2)]
    scripts |= {j.number: FINISH + "; " + count for j in jobs}
    outcomes: list[Outcome] = []
    run_locally(jobs, at_once, None, outcomes.append)
    assert [o.cause for o in outcomes] == [None, None]
    assert max(int((j.folder / "n").read_text()) for j in jobs) == together


def test_jobs_share_the_gpus_out(tmp_path, scripts, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    jobs = [job(tmp_path, i) for i in range(2)]
    tell = "; import os, time; print(os.environ['CUDA_VISIBLE_DEVICES']); time.sleep(0.5)"
    scripts |= {0: FINISH + tell, 1: FINISH + tell}
    run_locally(jobs, 2, 2, lambda outcome: None)
    assert [j.log.read_text().strip() for j in jobs] == ["4,5", "6,7"]


SIGNALS = [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.slow)]


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interruption_reaches_the_whole_group_and_waits_for_it(number, tmp_path, scripts) -> None:
    rank = (
        "import sys, time, pathlib\ntry:\n    pathlib.Path(sys.argv[1], sys.argv[2] + '.up').touch(); time.sleep(60)\n"
    )
    rank += "except KeyboardInterrupt:\n    time.sleep(0.5); pathlib.Path(sys.argv[1], sys.argv[2]).touch()"
    scripts[0] = (
        f"import subprocess, sys\nrank = {rank!r}\n"
        "processes = [subprocess.Popen([sys.executable, '-c', rank, sys.argv[1], n]) for n in 'ab']\n"
        "try:\n    [p.wait() for p in processes]\nexcept KeyboardInterrupt:\n    [p.wait() for p in processes]"
    )
    folder = tmp_path / "0"

    def interrupt() -> None:
        while not ((folder / "a.up").exists() and (folder / "b.up").exists()):
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else Stopped) as stop:
        run_locally([job(tmp_path, 0)], 1, None, lambda outcome: None)
    if number != signal.SIGINT:
        assert stop.value.code == 128 + number
    assert (folder / "a").exists()
    assert (folder / "b").exists()


def test_a_scheduler_that_repeats_its_signal_leaves_jobs_their_time(tmp_path) -> None:
    with stoppable():
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):  # a person is not told to wait
            signal.raise_signal(signal.SIGINT)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent was killed")
def test_jobs_end_with_a_sweep_that_is_killed(tmp_path) -> None:
    waiting = "import pathlib, os, sys, time; pathlib.Path(sys.argv[1], 'pid').write_text(str(os.getpid())); " + WAIT
    sweep = (
        "import sys; from pathlib import Path; from opsnet.sweep.launch import Job, run_locally\n"
        f"Job.command = lambda job: [sys.executable, '-c', {waiting!r}, str(job.folder)]\n"
        f"run_locally([Job(0, Path({str(tmp_path / '0')!r}), ())], 1, None, print)"
    )
    process = subprocess.Popen([sys.executable, "-c", sweep], cwd=ROOT)
    pid = tmp_path / "0" / "pid"
    try:
        wait_until(lambda: pid.is_file() and pid.read_text() != "")
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not alive(int(pid.read_text())))


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_job_that_does_not_stop_is_ended_by_force(tmp_path, scripts, monkeypatch) -> None:
    monkeypatch.setattr(launch, "GRACE", 0.5)
    scripts[0] = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); " + WAIT
    process = launch.Process(job(tmp_path, 0), {})
    while not process.log.read_text():
        time.sleep(0.05)
    launch.stop_all([process])
    until = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    outcome = process.poll()
    assert outcome is not None
    assert outcome.cause == "killed by SIGKILL"


def test_ranks_that_outlive_the_first_are_ended(tmp_path, scripts) -> None:
    scripts[0] = f"import os, subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {WAIT!r}]); "
    scripts[0] += "print(p.pid, flush=True); os.kill(os.getpid(), 9)"
    run_locally([job(tmp_path, 0)], 1, None, lambda outcome: None)
    rank = int((tmp_path / "0" / "job.log").read_text())
    until = time.monotonic() + 10
    while alive(rank) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(rank)


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# --- what a sweep is, and where it goes on ----------------------------------------------------------------------------


def test_the_identity_leaves_out_how_a_job_is_run() -> None:
    given = ["seed=1", "launcher=local", "launcher.jobs=2", "skip_done=true", "resume=auto", "+launchers=1"]
    assert identity(given) == ["seed=1", "+launchers=1"]


def write_sweep(folder: Path, overrides: list[str], age: float) -> Path:
    folder.mkdir(parents=True)
    path = folder / "multirun.yaml"
    OmegaConf.save({"hydra": {"overrides": {"task": overrides}}}, path)
    os.utime(path, (time.time() - age,) * 2)
    return folder


def test_the_newest_sweep_of_the_same_jobs_is_found(tmp_path) -> None:
    assert newest_sweep(tmp_path, ["seed=0,1"]) is None
    write_sweep(tmp_path / "z", ["seed=0,1"], 100)
    new = write_sweep(tmp_path / "a", ["seed=0,1", "launcher.jobs=3"], 50)
    write_sweep(tmp_path / "b", ["seed=0,1,2"], 0)
    assert newest_sweep(tmp_path, ["seed=0,1", "skip_done=true"]) == new
    assert newest_sweep(tmp_path, ["seed=0,3"]) is None


@pytest.mark.parametrize("damaged", ["hydra: [", "- a", "", "\x00\xff"])
def test_a_damaged_sweep_is_passed_over(damaged, tmp_path) -> None:
    old = write_sweep(tmp_path / "old", ["seed=0,1"], 100)
    new = write_sweep(tmp_path / "new", ["seed=0,1"], 0)
    (new / "multirun.yaml").write_bytes(damaged.encode("latin-1"))
    assert newest_sweep(tmp_path, ["seed=0,1"]) == old


def test_a_folder_whose_options_are_damaged_is_continued(tmp_path) -> None:
    first = job(tmp_path, 0)
    first.checkpoint.parent.mkdir(parents=True)
    first.checkpoint.touch()
    (first.folder / ".hydra").mkdir()
    (first.folder / ".hydra" / "overrides.yaml").write_text("- 'seed=")
    check_folder(first, skip_done=True)  # a training compares its own options with those in the checkpoint


def test_a_folder_with_a_run_is_not_overwritten(tmp_path) -> None:
    first = job(tmp_path, 0)
    check_folder(first, skip_done=False)
    first.checkpoint.parent.mkdir(parents=True)
    first.checkpoint.touch()
    with pytest.raises(InputError, match=rf"{first.folder} already contains a run: add skip_done=true"):
        check_folder(first, skip_done=False)
    check_folder(first, skip_done=True)
    (first.folder / ".hydra").mkdir()
    OmegaConf.save(["seed=0", "resume=x"], first.folder / ".hydra" / "overrides.yaml")
    check_folder(first, skip_done=True)
    with pytest.raises(InputError, match=r"contains another job \(seed=0\).*another hydra\.sweep\.dir"):
        check_folder(job(tmp_path, 0, "seed=5"), skip_done=True)


def test_jobs_are_named_by_what_tells_them_apart(tmp_path) -> None:
    assert names([job(tmp_path, i, "data=coco", f"seed={i}") for i in (0, 1)]) == {0: "seed=0", 1: "seed=1"}
    assert names([job(tmp_path, 0, "data=coco")]) == {0: "data=coco"}
    assert [duration(s) for s in (3.4, 95, 7260)] == ["3 s", "1 min 35 s", "2 h 1 min"]


@pytest.mark.parametrize("asked", ["skip_done=true", "launcher=submitit_slurm"])
def test_a_single_run_is_told_to_add_m(asked, command, tmp_path) -> None:
    code, text = command(train.main, f"hydra.run.dir={tmp_path / 'run'}", asked)
    assert code == 2
    assert f"error: {asked} is only for sweeps: add -m" in text


# --- submitit ---------------------------------------------------------------------------------------------------------


def queue(compose, cluster: str, folder: Path, *overrides: str) -> dict:
    cfg = compose("train", f"launcher=submitit_{cluster}", f"output={folder}", *overrides)
    OmegaConf.update(cfg, "launcher.submitit_folder", f"{folder}/.submitit/%j")
    return OmegaConf.to_container(cfg.launcher, resolve=True)


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Path:
    """SLURM's commands in name: sbatch keeps the file that it is given; returns its path."""
    sent = tmp_path / "sent.sh"
    for name, body in (("sbatch", f"cp $1 {sent}; echo Submitted batch job 4711"), ("srun", ""), ("sacct", "")):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    return sent


def test_what_sbatch_is_given(compose, tmp_path, slurm) -> None:
    asked = [
        "trainer=ddp",
        "trainer.devices=8",
        "+trainer.num_nodes=4",
        "launcher.partition=gpu",
        "experiment_name=mine",
    ]
    jobs = [job(tmp_path, i) for i in range(3)]
    handles = submit(jobs, "slurm", queue(compose, "slurm", tmp_path, *asked))
    assert [handle.job_id for handle in handles] == ["4711_0", "4711_1", "4711_2"]
    lines = slurm.read_text().splitlines()
    for line in (
        "--array=0-2%3", "--partition=gpu", "--nodes=4", "--ntasks-per-node=1", "--gpus-per-node=8", "--time=1440",
        "--requeue", "--signal=USR2@120", "--job-name=mine", "--open-mode=append",
    ):  # fmt: skip
        assert f"#SBATCH {line}" in lines
    assert [line for line in lines if line.startswith("srun") and "--kill-on-bad-exit=1" in line]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.devices=-1", "launcher.gpus_per_node=-1.*trainer.devices=8"),
        ("launcher.tasks_per_node=8 trainer.devices=2", "launcher.tasks_per_node=8 must be 1"),
    ],
)
def test_what_cannot_be_asked_of_slurm(override, message, compose, tmp_path) -> None:
    asked = queue(compose, "slurm", tmp_path, "trainer=ddp", *override.split())
    with pytest.raises(InputError, match=message):
        submit([job(tmp_path)], "slurm", asked)


def test_without_slurm_the_message_says_so(compose, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="launcher=submitit_slurm cannot submit the jobs: .*srun"):
        submit([job(tmp_path)], "slurm", queue(compose, "slurm", tmp_path))


# --- several nodes ----------------------------------------------------------------------------------------------------

SLURM = {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_JOB_ID": "77"}
TORCHRUN = {"RANK": "1", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}
RUNS = "hydra.run.dir=${paths.runs}/${experiment_name}"
SECOND = ["hydra.output_subdir=null", "hydra.job.name=train_rank_1"]


@pytest.mark.parametrize(
    ("arguments", "given", "more"),
    [
        (["seed=1"], {}, []),
        (["-m"], {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, []),  # a batch script, no srun
        ([], {"WORLD_SIZE": "1", "RANK": "0"}, []),
        ([], SLURM, [f"{RUNS}/slurm_77", *SECOND]),
        ([], SLURM | {"SLURM_PROCID": "0"}, [f"{RUNS}/slurm_77"]),
        ([], SLURM | {"SLURM_JOB_NAME": "interactive"}, []),
        (["hydra.run.dir=a"], TORCHRUN, SECOND),
        (["hydra.run.dir=a"], TORCHRUN | {"RANK": "0"}, []),
        ([], TORCHRUN | {"TORCHELASTIC_RUN_ID": "x", "RANK": "0"}, [f"{RUNS}/torchrun_x"]),
        # Lightning's own second process
        (["hydra.run.dir=a", "hydra.job.name=b"], {"NODE_RANK": "0", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}, []),
        (["hydra.run.dir=a"], {"NODE_RANK": "1", "WORLD_SIZE": "2"}, [SECOND[0], "hydra.job.name=train_rank_1_0"]),
    ],
)  # fmt: skip
def test_ranks_agree_on_a_folder(arguments, given, more) -> None:
    assert rank_arguments(arguments, given) == more


@pytest.mark.parametrize(("arguments", "part"), [([], "hydra.run.dir=FOLDER"), (["-m", "hydra.run.dir=a"], "sweep")])
def test_ranks_that_cannot_agree_are_refused(arguments, part) -> None:
    with pytest.raises(InputError, match=part):
        rank_arguments(arguments, TORCHRUN)


# --- the documentation ------------------------------------------------------------------------------------------------


def documented() -> list[list[str]]:
    """The overrides of every ``opsnet-train`` of docs/cluster.md."""
    text = (ROOT / "docs" / "cluster.md").read_text().replace("\\\n", " ")
    lines = [line.strip() for block in text.split("```sh")[1:] for line in block.split("```")[0].splitlines()]
    commands = [line.partition("opsnet-train ")[2].split() for line in lines if "opsnet-train " in line]
    return [[o.split(",")[0] for o in command if o != "-m" and not o.startswith("hydra.")] for command in commands]


def test_the_documented_commands_compose(compose, tmp_path) -> None:
    commands = documented()
    assert len(commands) == 5
    for overrides in commands:
        cfg = compose("train", *overrides, f"output={tmp_path}")
        assert cfg.trainer.strategy == "ddp"
        nodes = cfg.trainer.get("num_nodes", 1)
        assert (cfg.data.module.batch_size, cfg.data.module.device_batch_size) == (16 * nodes, 2)
