"""A table of the paper beside ours: the figures of each row, and what to run for those that are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from opsnet.experiments import PUBLISHED, ExperimentRow, World, experiment_rows
from opsnet.reporting.runs import Run, Runs


@dataclass(frozen=True)
class Figure:
    """One figure of a row.

    Attributes:
        paper_set: the paper's set.
        domain: what is measured in its place; the set itself in the real world.
        measure: PQ, mIoU, ...
        paper, ours: percent; a misprint of the paper is put right, ``None``: not run.
        comparable: whether both are of the same set.
    """

    paper_set: str
    domain: str
    measure: str
    paper: float
    ours: float | None
    comparable: bool

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's in points; ``None`` where one is missing or they are of different sets."""
        return self.ours - self.paper if self.ours is not None and self.comparable else None


@dataclass(frozen=True)
class Comparison:
    """A row: its figures, the run that ours come from, and the commands that give what is missing."""

    row: ExperimentRow
    figures: tuple[Figure, ...]
    run: Run | None
    commands: tuple[str, ...]

    def figure(self, paper_set: str, measure: str) -> Figure | None:
        """One figure, ``None`` where the paper's row has none."""
        return next((f for f in self.figures if (f.paper_set, f.measure) == (paper_set, measure)), None)


def compare(table: int | str, runs: Runs, world: World) -> tuple[Comparison, ...]:
    """Every row of a table.

    Raises:
        InputError: there is no such table.
    """
    return tuple(_compare(row, runs, world) for row in experiment_rows(table))


def _compare(row: ExperimentRow, runs: Runs, world: World) -> Comparison:
    run = runs.evaluation(row, world)
    figures = []
    for paper_set, printed in row.paper.items():
        domain = world.domain(paper_set)
        for measure in printed:
            ours = run.figure(row, domain, measure) if run else None
            paper = row.published(paper_set, measure)
            assert paper is not None  # it is one of the row's own
            figures.append(Figure(paper_set, domain, measure, paper, ours, world.is_real))
    missing = any(figure.ours is None for figure in figures)
    return Comparison(row, tuple(figures), run, commands(row, runs, world) if missing else ())


def commands(row: ExperimentRow, runs: Runs, world: World) -> tuple[str, ...]:
    """What to run, one command after the other, for the figures of a row."""
    where = "" if world.is_real else f" world={world.name}"
    if row.training == PUBLISHED:
        return (f"python scripts/score_mask2former.py experiment={row.name} model.weights=PATH",)
    checkpoint = runs.checkpoint(row.training, world)
    train = () if checkpoint else _train_commands(row.training, runs, world, where)
    path = _shown(checkpoint, row.training)
    return (*train, f"opsnet-evaluate experiment={row.name}{where} checkpoint={path}")


def _train_commands(training: str, runs: Runs, world: World, where: str) -> tuple[str, ...]:
    source = next(r.starts_from for r in _all_rows() if r.name == training)
    if source is None:
        return (f"opsnet-train experiment={training}{where}",)
    checkpoint = runs.checkpoint(source, world)
    before = () if checkpoint else _train_commands(source, runs, world, where)
    return (*before, f"opsnet-train experiment={training}{where} init_from={_shown(checkpoint, source)}")


def _all_rows() -> list[ExperimentRow]:
    from opsnet.experiments import tables

    return [row for table in tables() for row in experiment_rows(table)]


def _shown(checkpoint: Path | None, training: str) -> str:
    return str(checkpoint) if checkpoint else f"runs/{training}/DATE/checkpoints/last.ckpt"


def in_the_papers_order(comparisons: Sequence[Comparison], paper_set: str, measure: str) -> tuple[int, int]:
    """How many pairs of rows ours orders as the paper does, and of how many.

    Pairs that the paper ties, and rows that were not run, do not count.
    """
    figures = [f for c in comparisons if (f := c.figure(paper_set, measure)) is not None and f.ours is not None]
    pairs = [(a, b) for a, b in combinations(figures, 2) if a.paper != b.paper]
    agree = sum((a.paper - b.paper) * ((a.ours or 0) - (b.ours or 0)) > 0 for a, b in pairs)
    return agree, len(pairs)
