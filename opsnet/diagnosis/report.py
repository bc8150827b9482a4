"""Prints a rehearsal: a line for each check as it finishes, then a summary of the run, and the verdict."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from datetime import datetime, timedelta

from rich.console import Console
from rich.markup import escape

from opsnet.diagnosis.checklist import Checklist, CheckResult, Verdict
from opsnet.diagnosis.disk import gib
from opsnet.diagnosis.pace import Estimate, epochs
from opsnet.diagnosis.watch import StepMeasurements
from opsnet.training.recipe import StepPlan

MARKS: dict[Verdict, str] = {
    "ok": "[green]ok[/green]",
    "warning": "[yellow]warning[/yellow]",
    "failure": "[red]fails[/red]",
}


def show(result: CheckResult) -> None:
    """Prints one result."""
    Console().print(f"{MARKS[result.verdict]} {escape(result.check)}: {escape(result.sentence)}", soft_wrap=True)


def print_run(
    plan: StepPlan | None,
    warmup: int,
    images: int,
    parameters: Mapping[str, tuple[int, int]],
    measured: StepMeasurements | None,
    estimated: Estimate | None,
) -> None:
    """Prints a summary of the run, as far as it is known.

    Args:
        plan: the training's plan.
        warmup: steps until the full learning rate.
        images: images in the training set; 0 if it could not be read.
        parameters: part -> (trained, frozen).
        measured: measurements of the steps; ``None`` if none were taken.
        estimated: the estimate based on these.
    """
    rows: list[tuple[str, str]] = []
    if plan is not None:
        if plan.steps:
            summary = f" ({epochs(plan, images):.1f} epochs of {images:,} images)" if images else ""
            rows.append(("steps", f"{plan.steps:,}{summary}"))
        totals, shares = _sizes(plan, 1), _sizes(plan, plan.devices * plan.accumulate)
        split = f"{shares} per device x {plan.devices} devices x {plan.accumulate} accumulated"
        rows.append(("total batch", f"{totals} images per step ({split})"))
        rows.append(("learning rate", f"{plan.lr:g}, {warmup:,} steps of warm-up"))
    for part, (trained, frozen) in parameters.items():
        summary = " + ".join(f"{n / 1e6:.2f} M {kind}" for n, kind in ((trained, "trained"), (frozen, "frozen")) if n)
        rows.append((f"parameters: {part}", summary or "none"))
    if measured is not None:
        where = "of the GPU" if measured.device.startswith("cuda") else "of the process, on the CPU"
        rows.append(("peak memory", f"{gib(measured.peak)} {where}"))
        summary = f"{measured.seconds_per_batch:.2f} per batch; the first, with setup, took {measured.seconds[0]:.2f}"
        accumulate = plan.accumulate if plan is not None else 1
        rows.append(("seconds per step", f"{measured.seconds_per_batch * accumulate:.2f} ({summary})"))
    if measured is not None and estimated is not None:
        end = datetime.now() + timedelta(seconds=estimated.seconds)
        rows.append(("training, validation", f"{_span(estimated.training)}, {_span(estimated.validation)}"))
        rows.append(("estimated end", f"{end:%Y-%m-%d %H:%M}, if started now on this {_device(measured)}"))
    console = Console()
    console.rule("[bold]the run[/bold]", align="left")
    for name, value in rows:
        console.print(f"{name:<32} {escape(value)}", soft_wrap=True)


def _sizes(plan: StepPlan, parts: int) -> str:
    """Images of each kind, ``8 + 8`` where there are two."""
    return " + ".join(str(total // parts) for total in plan.totals.values())


def _device(measured: StepMeasurements) -> str:
    return "GPU" if measured.device.startswith("cuda") else "CPU"


def _span(seconds: float) -> str:
    """Formats a duration in a suitable unit."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def print_verdict(checklist: Checklist) -> None:
    """Repeats failures and warnings and prints their numbers; tracebacks of crashes go to stderr."""
    console = Console()
    failures, warnings = checklist.of("failure"), checklist.of("warning")
    console.rule("[bold]verdict[/bold]", align="left")
    for result in (*warnings, *failures):
        show(result)
    console.print(f"{len(failures)} failures, {len(warnings)} warnings, {len(checklist.of('ok'))} checks passed")
    for error in checklist.crashes:
        traceback.print_exception(error, file=sys.stderr)
