"""Tables of a report in Markdown, and the description of the machine they were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("torch", "triton", "lightning", "timm", "open_clip_torch", "transformers")
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Table:
    """A table of results.

    Attributes:
        title: heading.
        columns: the first one names the row.
        rows: cells as text.
        notes: sentences below the table.
        failures: sentences that say what failed.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def measure(self, names: str | Sequence[str], work: Callable[[], Sequence[str]]) -> None:
        """Adds the row of ``names`` and ``work()``; an exception becomes the row's last cell and a failure."""
        row = [names] if isinstance(names, str) else list(names)
        try:
            row += work()
        except Exception as error:  # a failed kernel or a full memory must not hide the other rows
            self.failures.append(f"{' '.join(row)}: {sentence(error)}")
            row += ["failed"] * (len(self.columns) - len(row))
            print(f"FAILED {self.failures[-1]}", flush=True)
        self.rows.append(row)
        print("; ".join(f"{column} {cell}" for column, cell in zip(self.columns, row)), flush=True)

    def markdown(self) -> str:
        """The table with its notes and failures."""
        lines = [f"## {self.title}", ""]
        if self.rows:
            lines += [_line(self.columns), _line(["---"] + ["---:"] * (len(self.columns) - 1))]
            lines += [_line(row) for row in self.rows] + [""]
        for note in self.notes:
            lines += [note, ""]
        for failure in self.failures:
            lines += [f"**Failed:** {failure}", ""]
        return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def sentence(error: BaseException, most: int = 400) -> str:
    """An exception as one line of at most ``most`` characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:most]


def machine(device: str, commit: str | None) -> str:
    """The machine, driver, versions and commit, as the introduction of a report."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    hardware = f"{cores} CPU cores ({_processor()})"
    if device == "cuda":
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        gib = torch.cuda.get_device_properties(0).total_memory / 2**30
        hardware = (
            f"{len(names)} x {names[0]} ({gib:.0f} GiB), driver {_driver()}, CUDA {torch.version.cuda}, {hardware}"
        )
    packages = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return f"{hardware}; Python {platform.python_version()}, {packages}; commit {commit or _commit()}."


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _driver() -> str:
    return _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").split("\n")[0]


def _commit() -> str:
    commit = _output("git", "rev-parse", "--short", "HEAD")
    return f"{commit} with changes" if _output("git", "status", "--porcelain") not in ("", "unknown") else commit


def _output(*command: str) -> str:
    """The output of a command, "unknown" if it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _version(package: str) -> str:
    try:
        return torch.__version__ if package == "torch" else version(package)
    except PackageNotFoundError:
        return "not installed"
