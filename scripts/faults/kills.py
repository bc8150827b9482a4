"""Kills a training twenty times and compares what follows with a training that nothing disturbed.

Usage: python -m scripts.faults.kills [--kills 20] [--chains 4] [--workers 2] [--seed 0] [--folder FOLDER]

A chain is one run that is stopped several times and resumed each time with the same command (``resume=auto``); in the
end it is left to finish. Half of the kills come while a checkpoint is being written, the others at random moments of
the training, validations included. Most are SIGKILL. The runs are on another filesystem than the temporary folder, by
default in /dev/shm.

The report is a table of the kills, and the exit status is 1 if a resumption failed, more than the steps between two
checkpoints was lost, or metrics or weights differ by a bit. Linux only.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
COUNTS = {"train": 24, "val": 4, "test": 4, "labels": 2}
EPOCHS, STEPS = 16, 3  # a checkpoint per epoch, of three steps
SMALL = (
    f"optim.max_epochs={EPOCHS}", "data.module.batch_size=8", "model.query_decoder.queries=8", "matching.points=64",
    "optim.scheduler.warmup=2", "trainer.accelerator=cpu", "trainer.check_val_every_n_epoch=1",
    "trainer.log_every_n_steps=1", "progress_every=0", "ema=0.99", "resume=auto",
)  # fmt: skip
LIMIT = 600.0
"""Seconds after which a process that does not do what is expected is given up."""


class Failed(RuntimeError):
    """A resumption did not work."""


@dataclass(frozen=True)
class Kill:
    """One kill of a training.

    Attributes:
        number: the signal.
        in_save: whether it was sent while a checkpoint was being written.
        torn: names of half written files that the process left.
        reached: last step that the process completed.
        resumed: step from which the next process continues.
        code: exit code.
    """

    number: signal.Signals
    in_save: bool
    torn: tuple[str, ...]
    reached: int
    resumed: int
    code: int

    @property
    def lost(self) -> int:
        """Steps to repeat."""
        return max(0, self.reached - self.resumed)


CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["opsnet.commands.train", "opsnet.training.run", "opsnet.training.module", "opsnet.training.callbacks",
     "opsnet.data.datamodule", "opsnet.training.csv_logger", "opsnet.model", "lightning", "open_clip", "hydra"]
)  # fmt: skip
"""Forks every training from a process that has imported the libraries and done nothing else: imports are most of the
time of a training of seconds."""


def run_command(arguments: list[str], log: Path) -> None:
    """Runs ``opsnet-train`` in this process, with its output in a file."""
    from opsnet.commands.train import main as train

    with log.open("ab") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.chdir(ROOT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background processes
    sys.argv = ["opsnet-train", *arguments]
    train()


class Training:
    """A training process in a run's folder."""

    def __init__(self, world: Path, run: Path) -> None:
        self.run, self.log = run, run.with_suffix(".log")
        self.log.touch()
        self._start = self.log.stat().st_size
        counts = [f"++data.module.prepare.{key}={value}" for key, value in COUNTS.items()]
        folders = [f"paths.data={world}", f"paths.runs={run.parent}", f"hydra.run.dir={run}"]
        self.process = CONTEXT.Process(target=run_command, args=([*counts, *SMALL, *folders], self.log))
        self.process.start()

    def output(self) -> str:
        """What this process has printed."""
        return self.log.read_bytes()[self._start :].decode(errors="replace")

    def wait_for_steps(self, count: int) -> None:
        """Waits for this process's steps."""
        self._wait(lambda: len(steps_in(self.output())) >= count)

    def wait_for_save(self) -> None:
        """Waits for the next checkpoint to be begun."""
        self._wait(lambda: not unfinished(self.run), pause=0.0005)
        self._wait(lambda: bool(unfinished(self.run)), pause=0.0005)

    def _wait(self, ready: Callable[[], bool], pause: float = 0.01) -> None:
        until = time.monotonic() + LIMIT
        while not ready():
            if self.process.exitcode is not None:
                raise Failed(f"the training ended with code {self.process.exitcode}:\n{self.output()[-2000:]}")
            if time.monotonic() > until:
                self.stop(signal.SIGKILL)
                raise Failed(f"the training did not get further in {LIMIT:.0f} s:\n{self.output()[-2000:]}")
            time.sleep(pause)

    def stop(self, number: signal.Signals) -> int:
        """Sends a signal and returns the exit code."""
        os.kill(self.process.pid, number)
        return self._end()

    def _end(self) -> int:
        self.process.join(LIMIT)
        if self.process.exitcode is None:
            self.process.kill()
            raise Failed(f"the training did not end in {LIMIT:.0f} s:\n{self.output()[-2000:]}")
        return int(self.process.exitcode)

    def finish(self) -> None:
        """Lets the training end.

        Raises:
            Failed: it fails.
        """
        if code := self._end():
            raise Failed(f"the training ended with code {code}:\n{self.output()[-2000:]}")


def unfinished(run: Path) -> tuple[str, ...]:
    """Names of files of a checkpoint that is being written, or whose writing was interrupted."""
    folder = run / "checkpoints"
    return tuple(sorted(p.name for p in folder.glob(".*") if p.suffix in (".part", ".link")))


def steps_in(text: str) -> list[int]:
    """Numbers of the completed steps in the output of a training."""
    return [int(number) for number in re.findall(r"step (\d+) of \d+, loss", text)]


def stored_step(run: Path) -> int:
    """The step from which ``resume=auto`` continues; 0 without a checkpoint."""
    from opsnet.training.resume import newest_whole

    if not any((run / "checkpoints").glob("*.ckpt")):
        return 0
    return int(torch.load(newest_whole(run), map_location="cpu", weights_only=True)["global_step"])


def kill_once(world: Path, run: Path, number: signal.Signals, *, in_save: bool, chance: random.Random) -> Kill:
    """Starts or resumes a run and kills it.

    Raises:
        Failed: the resumed training did not come to the moment of the kill, or has a wrong exit code.
    """
    before = stored_step(run)
    training = Training(world, run)
    training.wait_for_steps(1 if in_save else chance.randint(1, 2 * STEPS))
    if in_save:
        for _ in range(chance.randint(1, 4)):  # best.ckpt and last.ckpt are written in an epoch
            training.wait_for_save()
        time.sleep(chance.uniform(0, 0.02))
    else:
        time.sleep(chance.uniform(0, 0.5))
    code = training.stop(number)
    expected = -number if number == signal.SIGKILL else 128 + number
    if code != expected:
        raise Failed(f"after {number.name}, exit code {code} and not {expected}:\n{training.output()[-2000:]}")
    steps = steps_in(training.output())
    if steps[0] != before + 1:
        raise Failed(f"it resumed at step {steps[0]}, but the newest checkpoint has {before}")
    return Kill(number, in_save, unfinished(run), steps[-1], stored_step(run), code)


def compare(run: Path, reference: Path) -> list[str]:
    """What differs between two finished runs; empty if nothing does."""
    found = []
    if _metrics(run) != _metrics(reference):
        found.append("results.json")
    if _logged(run) != _logged(reference):
        found.append("metrics.csv")
    ours, theirs = (
        torch.load(r / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True) for r in (run, reference)
    )
    for key, a, b in (
        ("weights", ours["state_dict"], theirs["state_dict"]),
        ("average", ours["ema"]["weights"], theirs["ema"]["weights"]),
    ):
        if a.keys() != b.keys() or not all(torch.equal(a[name], b[name]) for name in b):
            found.append(key)
    return found


def _metrics(run: Path) -> object:
    return json.loads((run / "results.json").read_text(encoding="utf-8"))["metrics"]


def _logged(run: Path) -> list[tuple[int, str, str]]:
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return sorted((int(row["step"]), k, v) for row in rows for k, v in row.items() if k != "step" and v)


def draw_world(folder: Path) -> Path:
    """Writes the images and a CLIP with random weights; returns ``paths.data``."""
    from opsnet.clip.tiny import tiny_clip
    from opsnet.miniature.scenes import write_world

    write_world(folder / "scenes_0", seed=0, workers=1, **COUNTS)
    (folder / "clip").mkdir()
    torch.manual_seed(0)
    torch.save({"state_dict": tiny_clip().state_dict()}, folder / "clip" / "tiny.pt")
    return folder


def schedule(kills: int, chance: random.Random) -> list[tuple[signal.Signals, bool]]:
    """(signal, whether during a save) of each kill: every second one in a save, every fourth TERM or INT."""
    others = (signal.SIGTERM, signal.SIGINT)
    planned = [(others[i // 4 % 2] if i % 4 == 3 else signal.SIGKILL, (i + i // 4) % 2 == 0) for i in range(kills)]
    chance.shuffle(planned)
    return planned


def other_filesystem() -> Path:
    """/dev/shm, else the working folder, if it is not on the filesystem of the temporary folder.

    Raises:
        Failed: neither is.
    """
    temporary = Path(tempfile.gettempdir()).stat().st_dev
    for folder in (Path("/dev/shm"), Path.cwd()):
        if folder.is_dir() and folder.stat().st_dev != temporary:
            return folder
    raise Failed("no folder on another filesystem than the temporary folder was found: give --folder or set TMPDIR")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the chains; 1 if one is bad."""
    options = _parse(arguments)
    os.environ["OMP_NUM_THREADS"] = (
        "1"  # trainings beside each other: with more threads than cores they take ten times as long
    )
    home = options.folder or other_filesystem()
    work = Path(tempfile.mkdtemp(prefix="opsnet_kills_", dir=home))
    start = time.monotonic()
    print(f"runs in {work}, temporary folder {tempfile.gettempdir()}", flush=True)
    try:
        bad = _run(options, work)
    except Failed as error:
        print(f"FAILED: {error}", flush=True)
        bad = True
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{'bad' if bad else 'good'}, in {time.monotonic() - start:.0f} s")
    return int(bad)


def _run(options: argparse.Namespace, work: Path) -> bool:
    world, reference = draw_world(work / "data"), work / "reference"
    undisturbed = Training(world, reference)
    planned = schedule(options.kills, random.Random(options.seed))
    print("| chain | signal | when | left half written | step reached | resumed from | steps lost | exit code |")
    print("|---|---|---|---|---|---|---|---|", flush=True)

    def chain(number: int) -> bool:
        kills = planned[number :: options.chains]
        return _run_chain(world, work / f"chain_{number}", kills, random.Random(f"{options.seed} {number}"))

    try:
        with ThreadPoolExecutor(options.workers) as pool:
            bad = any(list(pool.map(chain, range(options.chains))))
        undisturbed.finish()
    finally:
        undisturbed.process.kill()
    for number in range(options.chains):
        different = compare(work / f"chain_{number}", reference)
        bad |= bool(different)
        result = f"differs: {', '.join(different)}" if different else "metrics, weights and average equal to the bit"
        print(f"| chain_{number} | finished: {result} |" + " |" * 6, flush=True)
    return bad


def _run_chain(world: Path, run: Path, kills: Sequence[tuple[signal.Signals, bool]], chance: random.Random) -> bool:
    """Kills and resumes a run, prints a row for each kill, and lets it finish; returns whether too much was lost."""
    bad = False
    for number, in_save in kills:
        kill = kill_once(world, run, number, in_save=in_save, chance=chance)
        bad |= kill.lost > (STEPS if number == signal.SIGKILL else 0)
        when, torn = "during a save" if in_save else "at random", " ".join(kill.torn) or "-"
        cells = (run.name, number.name, when, torn, kill.reached, kill.resumed, kill.lost, kill.code)
        print("".join(f"| {cell} " for cell in cells) + "|", flush=True)
    Training(world, run).finish()
    return bad


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.faults.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2, help="chains at a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
