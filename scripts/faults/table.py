"""The matrix of faults as a report in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.faults.cell import Judged
from scripts.faults.judging import GOOD, OK
from scripts.gpu_check.report import Table, machine


def matrix(cells: Sequence[Judged]) -> Table:
    """A row per fault, a column per command: what was lost, or the verdict if it is bad."""
    faults = list(dict.fromkeys(cell.fault for cell in cells))
    jobs = list(dict.fromkeys(cell.job for cell in cells))
    found = {(cell.fault, cell.job): cell for cell in cells}
    table = Table("What was lost", ("fault", *jobs))
    for fault in faults:
        table.rows.append([fault, *(_short(found.get((fault, job))) for job in jobs)])
    return table


def details(cells: Sequence[Judged]) -> Table:
    """A row per cell."""
    table = Table("Outcome of each cell", ("fault", "command", "verdict", "outcome", "lost"))
    for cell in cells:
        table.rows.append([cell.fault, cell.job, cell.verdict, _clean(cell.outcome), cell.lost])
        table.failures += [f"{cell.fault}, {cell.job}: {p.kind}: {_clean(p.sentence)}" for p in cell.problems]
    return table


def write_report(path: Path, cells: Sequence[Judged], *, command: str, seconds: float, notes: Sequence[str]) -> None:
    """Writes the tables with the machine, the command and the time that it took."""
    bad = sum(cell.verdict not in GOOD for cell in cells)
    head = [f"`{command}`: {len(cells)} cells, {bad} bad, {seconds / 60:.1f} minutes. {machine('cpu', None)}", *notes]
    parts = ["# Faults", "", "\n\n".join(head), "", matrix(cells).markdown(), details(cells).markdown()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts), encoding="utf-8")


def _short(cell: Judged | None) -> str:
    if cell is None:
        return ""
    return cell.lost if cell.verdict == OK else cell.verdict


def _clean(text: str, most: int = 160) -> str:
    """A sentence without the long paths of this run."""
    words = ["..." + word[word.rfind("/") :] if len(word) > 40 and "/" in word else word for word in text.split()]
    text = " ".join(words)
    return text if len(text) <= most else text[: most - 3] + "..."
