"""Every row of the paper's tables in miniature: train the models, evaluate each once, write the tables.

``make tables`` calls this. Trainings and evaluations run two at a time with one thread each; finished ones are skipped,
so the same command continues an interrupted run.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from opsnet.paper.trainings import Training, trainings
from opsnet.sweep.launch import Job, quoted, stoppable
from opsnet.sweep.report import duration
from opsnet.utils.errors import exit_on_user_error
from scripts.miniature.jobs import command, data_folder, draw_scenes, runs_folder, side_by_side, smoke


def main(words: Sequence[str] | None = None) -> None:
    """Prepares data and CLIP, runs the trainings, fine-tunings and evaluations, and writes the tables."""
    options = _arguments(words)
    start = time.monotonic()
    runs = (data_folder(shrunk=True) / "runs" if options.smoke else runs_folder()) / f"tables_seed{options.seed}"
    print(f"Writing to {runs}; jobs that are finished there are skipped.", flush=True)
    _prepare(runs, options)
    every = trainings()
    # The larger backbones come last; they are started first, so that they do not run alone at the end.
    first, second = ([t for t in reversed(every) if (t.starts_from is None) == fresh] for fresh in (True, False))
    for wave, jobs in (
        ("trainings", [training(t, runs, options) for t in first]),
        ("fine-tunings", [training(t, runs, options) for t in second]),
        ("evaluations", [evaluation(t, runs, options) for t in every]),
    ):
        print(f"--- {wave}", flush=True)
        side_by_side(jobs, "run the same command again to continue")
    print(f"All rows after {duration(time.monotonic() - start)}", flush=True)
    _write_tables(runs, options)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="for images, initialization and order")
    parser.add_argument("--smoke", action="store_true", help="the same steps, shortened to minutes")
    parser.add_argument("overrides", nargs="*", help="for all trainings, e.g. trainer.max_epochs=40")
    return parser.parse_args(words)


def training(what: Training, runs: Path, options: argparse.Namespace) -> Job:
    """A training, in a folder with its name."""
    overrides = [f"experiment={what.name}", *_world(options), "trainer.enable_progress_bar=false"]
    if what.starts_from is not None:
        overrides.append(quoted("init_from", _checkpoint(runs, what.starts_from)))
    if options.smoke:
        overrides += smoke()["fine_tuning" if what.starts_from else "train"]
    return Job(trainings().index(what), runs / what.name, (*overrides, *options.overrides))


def evaluation(what: Training, runs: Path, options: argparse.Namespace) -> Job:
    """One evaluation of a training with all settings used by rows of any table."""
    overrides = [
        f"experiment_name={what.name}", "table=all", *_world(options),
        quoted("checkpoint", _checkpoint(runs, what.name)), "panels=0", "details=false", "show=false",
    ]  # fmt: skip
    return Job(trainings().index(what), runs / what.name / "evaluation", tuple(overrides), module="opsnet.evaluate")


def _checkpoint(runs: Path, training: str) -> Path:
    return runs / training / "checkpoints" / "last.ckpt"


def _world(options: argparse.Namespace) -> list[str]:
    return ["world=scenes", f"seed={options.seed}", *(smoke()["world"] if options.smoke else [])]


def _prepare(runs: Path, options: argparse.Namespace) -> None:
    """Prepares CLIP and the images before any job needs them; returns immediately if they exist."""
    with stoppable():
        clip = [*(smoke()["clip"] if options.smoke else []), quoted("hydra.run.dir", runs / "clip")]
        subprocess.run(command("train_clip", clip), check=True)
        subprocess.run(draw_scenes(options.seed, shrunk=options.smoke), check=True)


def _write_tables(runs: Path, options: argparse.Namespace) -> None:
    from scripts.paper import figure4, table

    folder = runs / "tables_scenes"
    data = [f"paths.data={data_folder(shrunk=True)}"] if options.smoke else []
    figure4.main(["--world", "scenes", "--out", str(folder / "figure4.png"), *data])
    table.main(["--all", "--world", "scenes", "--runs", str(runs), "--out", str(folder)])


if __name__ == "__main__":
    with exit_on_user_error(interrupted="run the same command again to continue"):
        main()
