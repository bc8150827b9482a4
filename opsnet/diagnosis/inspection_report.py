"""Reports data inspections: findings in the terminal and as CSV, counts, and a sheet of samples per set."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from opsnet.data.findings import Finding, Kind, Severity
from opsnet.data.inspectors import inspector_of
from opsnet.data.set_inspection import Inspection, Inspector
from opsnet.utils.files import atomic_path
from opsnet.visualization.sample_sheet import sample_sheet
from opsnet.vocabulary import Vocabulary

SHOWN = 10  # categories per set in the terminal
_COLOURS: dict[Severity, str] = {"error": "red", "warning": "yellow"}


@dataclass
class Ledger:
    """Counts the findings of one set and keeps the first ``examples`` of each kind; ``write`` receives all of them."""

    examples: int
    write: Callable[[Finding], object]
    counts: Counter[Kind] = field(default_factory=Counter)
    first: dict[Kind, list[Finding]] = field(default_factory=dict)

    def take(self, finding: Finding) -> None:
        """Adds a finding."""
        self.counts[finding.kind] += 1
        kept = self.first.setdefault(finding.kind, [])
        if len(kept) < self.examples:
            kept.append(finding)
        self.write(finding)

    def total(self, severity: Severity) -> int:
        """The number of findings of a severity."""
        return sum(count for kind, count in self.counts.items() if kind.severity == severity)


def report_data(
    builders: Mapping[str, object], out: Path, *, examples: int = 5, samples: int = 6, limit: int | None = None
) -> int:
    """Inspects every set of a data module; prints a report and writes ``findings.csv``, ``categories.csv`` and sheets.

    Args:
        builders: set name -> builder, see ``PanopticDataModule.builders``; equal sets are inspected once.
        out: folder to write to.
        examples: number of findings to print per kind.
        samples: images per sheet.
        limit: inspect only the first ``limit`` annotations of each set.

    Returns:
        The number of errors in all sets.

    Raises:
        VocabularyError: a set's vocabulary cannot be read.
    """
    console = Console()
    sets, unknown = _distinct(builders)
    done: list[tuple[str, Inspection, Ledger]] = []
    with (
        _csv(out / "findings.csv", "set", "severity", "kind", "where", "message") as rows,
        _csv(out / "categories.csv", "set", "category", "name", "pictures") as category_rows,
    ):
        for inspector, keys in sets.items():
            ledger = Ledger(examples, _writer(keys[0], rows))
            result = inspector.inspect(ledger.take, limit=limit, samples=samples)
            category_rows.writerows((keys[0], *row) for row in _categories(result, inspector.vocabulary))
            done.append((", ".join(keys), result, ledger))
            _print_set(console, *done[-1], inspector)
            if result.samples:
                sample_sheet(result.samples, inspector.vocabulary, out / f"samples_{keys[0].replace('/', '_')}.png")
    for key, kind in unknown.items():
        console.print(f"[yellow]not inspected[/yellow] {escape(key)}: a set of {escape(kind)}", soft_wrap=True)
    console.print(_summary(done))
    console.print(
        f"All findings are in {escape(str(out / 'findings.csv'))}, sample sheets in the same folder", soft_wrap=True
    )
    return sum(ledger.total("error") for _, _, ledger in done)


@contextmanager
def _csv(path: Path, *columns: str) -> Iterator[Any]:
    """A writer of rows to a file that is only created if the block succeeds."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        yield rows


def _distinct(builders: Mapping[str, object]) -> tuple[dict[Inspector, list[str]], dict[str, str]]:
    """Inspectors with the names of the sets that they inspect, and the sets without an inspector, with their type."""
    sets: dict[Inspector, list[str]] = {}
    unknown: dict[str, str] = {}
    for key, builder in builders.items():
        inspector = inspector_of(builder)
        if inspector is not None:
            sets.setdefault(inspector, []).append(key)
        elif builder is not None:
            made = getattr(builder, "func", type(builder))
            unknown[key] = getattr(made, "__name__", str(made))
    return sets, unknown


def _writer(key: str, rows: Any) -> Callable[[Finding], object]:
    return lambda f: rows.writerow((key, f.kind.severity, f.kind.name, f.where, f.message))


def _categories(result: Inspection, vocabulary: Vocabulary) -> Iterable[tuple[int, str, int]]:
    """Id, name and number of images of every category."""
    return ((c.id, c.name, result.images_per_class[label]) for label, c in enumerate(vocabulary.concepts))


def _print_set(console: Console, name: str, result: Inspection, ledger: Ledger, inspector: Inspector) -> None:
    console.rule(f"[bold]{escape(name)}[/bold]", align="left")
    console.print(escape(inspector.name), soft_wrap=True)
    summary = f"{result.things:,} things, {result.stuff:,} stuff, {result.crowd:,} crowd"
    summary += f", {result.unknown:,} of unknown categories" * (result.unknown > 0)
    held = f"{result.labels:,} labels" if result.labels else f"{result.segments:,} segments ({summary})"
    console.print(f"{result.images:,} images, {result.annotations:,} annotations inspected, {held}", soft_wrap=True)
    frequent = sorted(_categories(result, inspector.vocabulary), key=lambda row: -row[2])[:SHOWN]
    listed = ", ".join(f"{called} {count:,}" for _, called, count in frequent if count)
    if listed:
        console.print(f"images per category ({len(result.images_per_class)} occur): {escape(listed)}", soft_wrap=True)
    for kind in sorted(ledger.counts, key=lambda k: (k.severity, -ledger.counts[k])):
        _print_kind(console, kind, ledger.counts[kind], ledger.first[kind])
    if not ledger.counts:
        console.print("[green]no findings[/green]")


def _print_kind(console: Console, kind: Kind, count: int, first: list[Finding]) -> None:
    colour = _COLOURS[kind.severity]
    console.print(f"[{colour}]{kind.severity}[/{colour}] {kind.name}: {count:,} ({escape(kind.fix)})", soft_wrap=True)
    for finding in first:
        console.print(f"    {escape(finding.where)}: {escape(finding.message)}", soft_wrap=True)
    if count > len(first):
        console.print(f"    ... and {count - len(first):,} more")


def _summary(done: Iterable[tuple[str, Inspection, Ledger]]) -> Table:
    table = Table("set", title="Data", title_justify="left")
    for column in ("annotations", "segments", "errors", "warnings"):
        table.add_column(column, justify="right")
    for name, result, ledger in done:
        counts = (result.annotations, result.segments, ledger.total("error"), ledger.total("warning"))
        table.add_row(escape(name), *(f"{count:,}" for count in counts))
    return table
