"""The table of a run, and the journal from which it is resumed."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.fuzz.judge import Verdict
from scripts.fuzz.pool import Chunk

ROOT = Path(__file__).parents[2]


@dataclass
class Row:
    """What is counted per target; seconds of the slowest case, MB by which a process grew at most."""

    cases: int = 0
    refused: int = 0
    accepted: int = 0
    slowest: float = 0.0
    megabytes: float = 0.0
    failures: int = 0

    def add(self, verdicts: Iterable[Verdict]) -> None:
        """Counts verdicts."""
        for verdict in verdicts:
            self.cases += 1
            self.refused += verdict.kind == "refused"
            self.accepted += verdict.kind == "accepted"
            self.failures += verdict.is_failure
            self.slowest = max(self.slowest, verdict.seconds)
            self.megabytes = max(self.megabytes, verdict.megabytes)

    def merge(self, other: Row) -> None:
        """Adds the counts of another."""
        for key in ("cases", "refused", "accepted", "failures"):
            setattr(self, key, getattr(self, key) + getattr(other, key))
        self.slowest, self.megabytes = max(self.slowest, other.slowest), max(self.megabytes, other.megabytes)


class Journal:
    """The finished ranges of seeds, one a line, so that an interrupted run can be resumed.

    Args:
        path: of the file.
        resume: whether to keep what it holds.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path, self.rows = path, dict[str, Row]()
        self._done: set[tuple[str, int, int]] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines() if resume and path.is_file() else []
        for line in map(json.loads, lines):
            self._done.add((line["target"], line["first"], line["count"]))
            self.rows.setdefault(line["target"], Row()).merge(Row(**line["row"]))
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def has(self, chunk: Chunk) -> bool:
        """Whether a range was finished by an earlier run."""
        return (chunk.target.name, chunk.first, chunk.count) in self._done

    @property
    def failures(self) -> int:
        """Number of failures so far."""
        return sum(row.failures for row in self.rows.values())

    def add(self, chunk: Chunk) -> None:
        """Notes a finished range."""
        row = Row()
        row.add(chunk.verdicts.values())
        self.rows.setdefault(chunk.target.name, Row()).merge(row)
        line = {"target": chunk.target.name, "first": chunk.first, "count": chunk.count, "row": asdict(row)}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def table(rows: Mapping[str, Row]) -> str:
    """The rows and their sum, in Markdown."""
    total = Row()
    for row in rows.values():
        total.merge(row)
    head = (
        "| input | cases | refused | accepted | slowest (s) | memory (MB) | failures |\n|---|--:|--:|--:|--:|--:|--:|\n"
    )
    return head + "".join(_line(name, row) for name, row in [*rows.items(), ("**all**", total)])


def _line(name: str, row: Row) -> str:
    counts = f"{row.cases:,} | {row.refused:,} | {row.accepted:,}"
    return f"| {name} | {counts} | {row.slowest:.2f} | {row.megabytes:.0f} | {row.failures} |\n"


def machine() -> str:
    """Commit, processor and Python of a run, in a line."""
    commit = _git("rev-parse", "--short", "HEAD") + (" with changes" if _git("status", "--porcelain", "-uno") else "")
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    processor = names[0].partition(": ")[2] if names else platform.machine()
    return f"commit {commit}, {len(names)} cores of {processor}, Python {platform.python_version()}"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
