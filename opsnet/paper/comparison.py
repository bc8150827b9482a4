"""Compares a table of the paper with our results: the metrics of each row, and the commands for missing ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from opsnet.metrics.results import require_same_data
from opsnet.paper.rows import TableRow, table_rows
from opsnet.paper.runs import Run, Runs
from opsnet.paper.trainings import training
from opsnet.paper.worlds import World


@dataclass(frozen=True)
class ComparedMetric:
    """One metric of a row, the paper's and ours.

    Attributes:
        paper_set: the paper's dataset.
        domain: the corresponding domain of ours; the dataset itself in the real world.
        measure: PQ, mIoU, ...
        paper: percent, with misprints corrected; ``None``: not in the paper.
        ours: percent; ``None``: not run.
        comparable: whether both are measured on the same dataset.
    """

    paper_set: str
    domain: str
    measure: str
    paper: float | None
    ours: float | None
    comparable: bool

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's in points; ``None`` if one is missing or the datasets differ."""
        if self.ours is None or self.paper is None or not self.comparable:
            return None
        return self.ours - self.paper


@dataclass(frozen=True)
class Comparison:
    """A row: its metrics, the run with our results, and the commands that produce missing ones."""

    row: TableRow
    metrics: tuple[ComparedMetric, ...]
    run: Run | None
    commands: tuple[str, ...]

    def metric(self, paper_set: str, measure: str) -> ComparedMetric | None:
        """One metric; ``None`` if the paper's row does not have it."""
        return next((f for f in self.metrics if (f.paper_set, f.measure) == (paper_set, measure)), None)


def compare(table: int | str, runs: Runs, world: World) -> tuple[Comparison, ...]:
    """Compares every row of a table.

    Raises:
        InputError: there is no such table.
        ResultsError: its rows were evaluated on different data.
    """
    comparisons = tuple(_compare(row, runs, world) for row in table_rows(table))
    domains = {metric.domain for c in comparisons for metric in c.metrics}
    require_same_data({str(c.run.folder): c.run.results for c in comparisons if c.run is not None}, domains)
    return comparisons


def _compare(row: TableRow, runs: Runs, world: World) -> Comparison:
    run = runs.evaluation(row, world)
    metrics = []
    for paper_set, measure in row.columns:
        domain = world.domain(paper_set)
        ours = run.metric(row, domain, measure) if run else None
        paper = row.published(paper_set, measure)
        metrics.append(ComparedMetric(paper_set, domain, measure, paper, ours, world.is_real))
    missing = any(metric.ours is None for metric in metrics)
    return Comparison(row, tuple(metrics), run, commands(row, runs, world) if missing else ())


def commands(row: TableRow, runs: Runs, world: World) -> tuple[str, ...]:
    """The commands to run, in order, to get the results of a row."""
    if row.published_backbone:
        return (f"python -m scripts.published.score_mask2former backbone={row.published_backbone} model.weights=PATH",)
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
    """The number of pairs of rows that our results rank as in the paper, and the number of pairs.

    Ties in the paper, rows that are not in the paper and rows that were not run do not count.
    """
    found = [f for c in comparisons if (f := c.metric(paper_set, measure)) is not None]
    values = [(f.paper, f.ours) for f in found if f.paper is not None and f.ours is not None]
    pairs = [(a, b) for a, b in combinations(values, 2) if a[0] != b[0]]
    agree = sum((a[0] - b[0]) * (a[1] - b[1]) > 0 for a, b in pairs)
    return agree, len(pairs)
