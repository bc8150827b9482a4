"""Finished runs on disk: finds the evaluation with the results of a row, and the checkpoint on which to score it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from opsnet.metrics.results import Results, ResultsError, load_results
from opsnet.paper.old_names import current_name
from opsnet.paper.rows import TableRow
from opsnet.paper.trainings import training_of
from opsnet.paper.worlds import World
from opsnet.utils.run_yaml import run_value


@dataclass(frozen=True)
class Run:
    """A folder with a ``results.json``: of a training or of an evaluation.

    Attributes:
        folder: the run's folder.
        results: its results.
        modified: modification time of the results, in seconds since 1970.
    """

    folder: Path
    results: Results
    modified: float

    @cached_property
    def training(self) -> str:
        """The experiment whose checkpoint was scored: stated by the evaluation, or else its own experiment name."""
        name = self.results.trained_as or self.results.experiment
        return training_of(name) or name

    def metric(self, row: TableRow, domain: str, measure: str) -> float | None:
        """A row's metric in percent on a domain of this run; ``None`` if it was not measured."""
        return self.results.value(f"{domain}/{row.measured_as}/{measure}")


class Runs:
    """All runs in a folder, the newest first.

    Args:
        folder: searched recursively for ``results.json``; files that are not results are skipped.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found = [run for path in folder.rglob("results.json") if (run := _read(path)) is not None]
        self.runs = sorted(found, key=lambda run: run.modified, reverse=True)

    def evaluation(self, row: TableRow, world: World) -> Run | None:
        """The newest evaluation of a row among those that cover most of its domains; ``None`` if it was not run."""
        places = [(world.domain(dataset), measure) for dataset, measure in row.columns]
        best, most = None, 0
        for run in self.runs:
            covered = sum(run.metric(row, *place) is not None for place in places)
            if covered > most and run.training == row.training:
                best, most = run, covered
        return best

    def checkpoint(self, training: str, world: World) -> Path | None:
        """The last checkpoint of the newest finished training of an experiment in a world."""
        for run in self.runs:
            path = run.folder / "checkpoints" / "last.ckpt"
            if (
                current_name(run.results.experiment) == training
                and path.is_file()
                and _world_of(run.folder) == world.name
            ):
                return path
        return None


def _read(path: Path) -> Run | None:
    try:
        return Run(path.parent, load_results(path), path.stat().st_mtime)
    except ResultsError:
        return None


def _world_of(folder: Path) -> str | None:
    """The world in a run's stored Hydra choices."""
    world: str | None = run_value(folder / ".hydra" / "hydra.yaml", "hydra.runtime.choices.world")
    return world
