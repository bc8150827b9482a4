"""What a rehearsal prints: a line for each check as it ends, then the run in numbers, and a verdict."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from rich.console import Console
from rich.markup import escape

from opsnet.rehearsal.checklist import Checklist, CheckResult, Verdict
from opsnet.rehearsal.disk import gib
from opsnet.rehearsal.plan import Plan
from opsnet.rehearsal.step import StepFigures

MARKS: dict[Verdict, str] = {
    "ok": "[green]ok[/green]",
    "doubt": "[yellow]doubt[/yellow]",
    "failure": "[red]fails[/red]",
}


def show(result: CheckResult) -> None:
    """Prints one result."""
    Console().print(f"{MARKS[result.verdict]} {escape(result.check)}: {escape(result.sentence)}", soft_wrap=True)


@dataclass(frozen=True)
class Estimate:
    """How long a training takes.

    Attributes:
        training, validation: seconds of the whole run.
        waits: whether reading the images takes longer than the steps.
    """

    training: float
    validation: float
    waits: bool

    @property
    def seconds(self) -> float:
        """Of both."""
        return self.training + self.validation


def estimate(
    plan: Plan, figures: StepFigures, *, loading: float, workers: int, validation_images: int, check_every: int
) -> Estimate:
    """Extends the measured steps to the whole training.

    Args:
        plan: of the training.
        figures: measured.
        loading: seconds that one worker takes for a batch.
        workers: that load at the same time; 0: the training process loads itself.
        validation_images: of the validation set.
        check_every: epochs between two validations.
    """
    reading = plan.accumulate * loading / max(workers, 1)
    step = figures.seconds_per_step
    each = step + reading if workers == 0 else max(step, reading)
    seconds, images = figures.validation
    per_image = seconds / max(images, 1)
    validations = int(plan.epochs) // max(check_every, 1)
    return Estimate(
        plan.steps * each, validations * validation_images * per_image / plan.processes, workers > 0 and reading > step
    )


def print_run(
    plan: Plan,
    parameters: Mapping[str, tuple[int, int]],
    figures: StepFigures | None,
    estimated: Estimate | None,
) -> None:
    """The run in numbers, as far as they are known.

    Args:
        plan: of the training.
        parameters: by part, (trained, frozen).
        figures: of the steps; ``None`` where none were taken.
        estimated: from these.
    """
    rows: list[tuple[str, str]] = []
    if plan.images:
        rows.append(("steps", f"{plan.steps:,} ({plan.epochs:.1f} epochs of {plan.images:,} images)"))
    each = f"{plan.batch_size} + {plan.label_batch_size}" if plan.label_batch_size else str(plan.batch_size)
    shares = f"{each} per device x {plan.processes} devices x {plan.accumulate} accumulated"
    rows.append(("total batch", f"{plan.total_batch} images a step ({shares})"))
    rows.append(("learning rate", f"{plan.lr:g}, {plan.warmup:,} steps of warm-up"))
    for part, (trained, frozen) in parameters.items():
        told = " + ".join(f"{n / 1e6:.2f} M {kind}" for n, kind in ((trained, "trained"), (frozen, "frozen")) if n)
        rows.append((f"parameters: {part}", told or "none"))
    if figures is not None:
        where = "of the GPU" if figures.device.startswith("cuda") else "of the process, on the CPU"
        rows.append(("peak memory", f"{gib(figures.peak)} {where}"))
        first = f"the first, with its preparations, took {figures.seconds[0]:.2f}"
        rows.append(("seconds a step", f"{figures.seconds_per_step:.2f} ({first})"))
    if figures is not None and estimated is not None:
        end = datetime.now() + timedelta(seconds=estimated.seconds)
        rows.append(("training, validation", f"{_span(estimated.training)}, {_span(estimated.validation)}"))
        rows.append(("estimated end", f"{end:%Y-%m-%d %H:%M}, if started now on this {_device(figures)}"))
    console = Console()
    console.rule("[bold]the run[/bold]", align="left")
    for name, value in rows:
        console.print(f"{name:<32} {escape(value)}", soft_wrap=True)


def _device(figures: StepFigures) -> str:
    return "GPU" if figures.device.startswith("cuda") else "CPU"


def _span(seconds: float) -> str:
    """A duration in its largest useful unit."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def print_verdict(checklist: Checklist) -> None:
    """The failures and doubts once more, and their number; tracebacks of crashes go to stderr."""
    console = Console()
    failures, doubts = checklist.of("failure"), checklist.of("doubt")
    console.rule("[bold]verdict[/bold]", align="left")
    for result in (*doubts, *failures):
        show(result)
    console.print(f"{len(failures)} failures, {len(doubts)} doubts, {len(checklist.of('ok'))} checks passed")
    for error in checklist.crashes:
        traceback.print_exception(error, file=sys.stderr)
