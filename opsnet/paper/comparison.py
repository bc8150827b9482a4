"""A table of the paper beside ours: the figures of each row, and what to run for those that are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from opsnet.paper.rows import TableRow, table_rows
from opsnet.paper.runs import Run, Runs
from opsnet.paper.trainings import training
from opsnet.paper.worlds import World


@dataclass(frozen=True)
class ComparedMetric:
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

    row: TableRow
    metrics: tuple[ComparedMetric, ...]
    run: Run | None
    commands: tuple[str, ...]

    def metric(self, paper_set: str, measure: str) -> ComparedMetric | None:
        """One figure, ``None`` where the paper's row has none."""
        return next((f for f in self.metrics if (f.paper_set, f.measure) == (paper_set, measure)), None)


def compare(table: int | str, runs: Runs, world: World) -> tuple[Comparison, ...]:
    """Every row of a table.

    Raises:
        InputError: there is no such table.
    """
    return tuple(_compare(row, runs, world) for row in table_rows(table))


def _compare(row: TableRow, runs: Runs, world: World) -> Comparison:
    run = runs.evaluation(row, world)
    metrics = []
    for paper_set, printed in row.paper.items():
        domain = world.domain(paper_set)
        for measure in printed:
            ours = run.metric(row, domain, measure) if run else None
            paper = row.published(paper_set, measure)
            assert paper is not None  # it is one of the row's own
            metrics.append(ComparedMetric(paper_set, domain, measure, paper, ours, world.is_real))
    missing = any(metric.ours is None for metric in metrics)
    return Comparison(row, tuple(metrics), run, commands(row, runs, world) if missing else ())


def commands(row: TableRow, runs: Runs, world: World) -> tuple[str, ...]:
    """What to run, one command after the other, for the results of a row."""
    if row.published_backbone:
        return (f"python scripts/score_mask2former.py backbone={row.published_backbone} model.weights=PATH",)
    checkpoint = runs.checkpoint(row.training, world)
    train = () if checkpoint else _train_commands(row.training, runs, world)
    path = _shown(checkpoint, row.training)
    return (*train, f"opsnet-evaluate table={row.table} row={row.row} world={world.name} checkpoint={path}")


def _train_commands(name: str, runs: Runs, world: World) -> tuple[str, ...]:
    command = f"opsnet-train experiment={name}" + ("" if world.is_real else f" world={world.name}")
    source = training(name).starts_from
    if source is None:
        return (command,)
    checkpoint = runs.checkpoint(source, world)
    before = () if checkpoint else _train_commands(source, runs, world)
    return (*before, f"{command} init_from={_shown(checkpoint, source)}")


def _shown(checkpoint: Path | None, training: str) -> str:
    return str(checkpoint) if checkpoint else f"runs/{training}/DATE/checkpoints/last.ckpt"


def pairs_in_paper_order(comparisons: Sequence[Comparison], paper_set: str, measure: str) -> tuple[int, int]:
    """How many pairs of rows ours orders as the paper does, and of how many.

    Pairs that the paper ties, and rows that were not run, do not count.
    """
    metrics = [f for c in comparisons if (f := c.metric(paper_set, measure)) is not None and f.ours is not None]
    pairs = [(a, b) for a, b in combinations(metrics, 2) if a.paper != b.paper]
    agree = sum((a.paper - b.paper) * ((a.ours or 0) - (b.ours or 0)) > 0 for a, b in pairs)
    return agree, len(pairs)
