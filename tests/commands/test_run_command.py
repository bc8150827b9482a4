"""Common behaviour of all console commands, which are one file each and start quickly."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from opsnet.commands.predict import HELP
from opsnet.commands.run_command import run_command
from opsnet.utils.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SHARED = {"arguments", "help", "keys", "quiet", "run_command"}
COMMANDS = ["demo", "doctor", "evaluate", "export", "predict", "prepare", "score", "train", "train_clip"]


def console_scripts() -> dict[str, str]:
    """Name -> ``module:function``, as pip installs them."""
    section = (ROOT / "pyproject.toml").read_text().partition("[project.scripts]\n")[2].partition("\n\n")[0]
    return dict(re.findall(r'^([\w-]+) = "([\w.:]+)"$', section, re.MULTILINE))


def run_predict(command, *arguments: str, **how) -> tuple[tuple[object, str], list]:
    """The exit of the command, and the configurations that its task received."""
    seen: list = []
    given = [*arguments, "checkpoint=a.ckpt", "image=a.png"]
    return command(lambda: run_command("predict", seen.append, help=HELP, **how), *given), seen


def test_there_is_a_console_command_and_a_module_for_each_file() -> None:
    files = {path.stem for path in (ROOT / "opsnet" / "commands").glob("*.py")} - {"__init__", *SHARED}
    assert files == set(COMMANDS)
    assert console_scripts() == {f"opsnet-{n.replace('_', '-')}": f"opsnet.commands.{n}:main" for n in COMMANDS}


@pytest.mark.parametrize("target", console_scripts().values())
def test_the_console_command_is_a_function(target: str) -> None:
    module, _, name = target.partition(":")
    assert callable(getattr(import_module(module), name))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_printed_without_torch(name: str, tmp_path: Path) -> None:
    program = (
        "import atexit, os, runpy, sys; sys.argv[1:] = ['--help']\n"
        "atexit.register(lambda: 'torch' in sys.modules and os._exit(7))\n"
        f"runpy.run_module('opsnet.{name}', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False,
                          env={"PYTHONPATH": str(ROOT), "PATH": ""})  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert done.stdout


def test_under_m_the_commas_of_a_text_separate_jobs(command, tmp_path: Path) -> None:
    ended, seen = run_predict(command, "-m", "vocabulary=cat,dog", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert ended == (0, "")
    assert [cfg.vocabulary for cfg in seen] == ["cat", "dog"]


def test_arguments_are_added_and_the_end_gives_the_exit_code(command, tmp_path: Path) -> None:
    given = ["vocabulary=cat", f"hydra.run.dir={tmp_path / 'run'}"]
    ended, (cfg,) = run_predict(command, *given, extend=lambda words: [f"top_k={len(words)}"], finish=lambda: 3)
    assert ended == (3, "")
    assert cfg.top_k == 6  # four of ours and the two of the fixture, which turn Hydra's logging off


def test_bad_input_is_one_sentence_wherever_it_is_found(command, tmp_path: Path) -> None:
    def refuse(*_: object) -> list[str]:
        raise InputError("no such thing: give another")

    given = ["vocabulary=cat", f"hydra.run.dir={tmp_path / 'run'}"]
    for where in ("extend", "finish"):
        ended, _ = run_predict(command, *given, **{where: refuse})
        assert ended == (2, "error: no such thing: give another\n")


def test_old_names_of_experiments_are_refused_by_every_command(command) -> None:
    ended, seen = run_predict(command, "experiment=glob(table4_*)")
    assert ended[0] == 2
    assert "opsnet-evaluate table=4 scores them" in ended[1]
    assert not seen


def test_the_log_is_named_after_the_command(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from opsnet.commands import evaluate

    names: list[str] = []

    def note(cfg) -> None:
        from hydra.core.hydra_config import HydraConfig

        names.append(HydraConfig.get().job.name)

    monkeypatch.setattr("opsnet.evaluation.run.evaluate_and_print", note)
    command(evaluate.main, "checkpoint=a.ckpt", f"hydra.run.dir={tmp_path / 'run'}")
    assert names == ["evaluate"]


def test_ctrl_c_says_how_to_resume(command, tmp_path: Path) -> None:
    def interrupt(_: object) -> list[str]:
        raise KeyboardInterrupt

    ended, _ = run_predict(command, "vocabulary=cat", extend=interrupt, interrupted="run it again")
    assert ended == (130, "interrupted; run it again\n")


SLEEP = """
import sys, time
from opsnet.commands.predict import HELP
from opsnet.commands.run_command import run_command
def sleep(cfg):
    print("started", flush=True)
    time.sleep(600)
run_command("predict", sleep, help=HELP, interrupted="start it again")
"""


def with_interrupts() -> None:
    """Shells ignore SIGINT in background processes, and children would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_the_process_without_a_traceback(tmp_path: Path) -> None:
    arguments = ["checkpoint=a", "image=b", "vocabulary=c", "hydra/job_logging=none"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEP, *arguments], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=with_interrupts,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert (process.returncode, error) == (130, "interrupted; start it again\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "line", ["opsnet.predict --help", "opsnet.train --cfg job", "opsnet.score --json gt={0} pred={0}"]
)
def test_a_reader_that_leaves_ends_the_process_without_a_traceback(
    line: str, unbuffered: str, tmp_path: Path, world
) -> None:
    """As ``| head -c 10`` does; the json has more than a pipe holds, and short texts are written at the end."""
    name, *arguments = line.format(world.data / "scenes_0" / "scenes" / "annotations" / "panoptic_val.json").split()
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        [sys.executable, "-m", name, *arguments], cwd=tmp_path, env=environment,
        stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_hydra_prints_no_overrides_before_the_sentence(command, tmp_path: Path) -> None:
    def refuse(cfg: object) -> None:
        raise InputError("no such thing: give another")

    given = ["image=a", "vocabulary=b", f"hydra.run.dir={tmp_path / 'run'}"]
    assert command(lambda: run_command("predict", refuse, help=HELP), *given) == (
        2, "error: no such thing: give another\n"
    )  # fmt: skip
