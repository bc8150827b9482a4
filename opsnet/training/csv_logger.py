"""A CSV logger whose ``metrics.csv`` also has the rows from before an interruption.

Lightning's CSVLogger deletes ``metrics.csv`` when it starts to log.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from opsnet.utils.files import WriteError, atomic_path, write_error

METRICS, EARLIER = "metrics.csv", "metrics_before.csv"
Row = dict[str, str]
"""Column -> text; ``step`` is always present, and metrics not logged at that step are empty."""


class DurableWriter(ExperimentWriter):
    """Lightning's writer of ``metrics.csv``, which a full disk, or a kill while columns are added, leaves whole."""

    def save(self) -> None:
        """Writes buffered rows, all or none.

        Raises:
            WriteError: the disk is full or cannot be written, or the run's folder was removed.
        """
        path = Path(self.metrics_file_path)
        self._whole = path.stat().st_size if path.is_file() else 0
        columns = list(self.metrics_keys)
        try:
            super().save()
        except WriteError:  # of the columns: the file has those from before
            self.metrics_keys = columns
            raise
        except OSError as error:
            with suppress(OSError):  # on a disk that cannot be written, nothing was
                os.truncate(path, self._whole)
            raise write_error(path, error.strerror or str(error)) from error

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        path = Path(self.metrics_file_path)
        write_rows(path, read_rows(path), fieldnames)
        self._whole = path.stat().st_size


class ResumableCSVLogger(CSVLogger):
    """Writes ``metrics.csv`` into a run's folder and, at the end, merges the rows of the resumed run into it.

    During training the earlier rows are stored in ``metrics_before.csv``, because this process may be killed as well.

    Args:
        folder: the run's folder.
        resume: the checkpoint from which the run resumes; the earlier rows are those of the folder or, if it has none,
            those of the checkpoint's run. ``None`` for a new run.
    """

    def __init__(self, folder: Path, *, resume: Path | None = None) -> None:
        super().__init__(str(folder), name="", version="")
        self._folder = folder
        self._earlier: list[Row] = []
        if resume is not None:
            self._set_aside(resume)

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """The writer, made at first access."""
        if self._experiment is None:
            self._experiment = DurableWriter(log_dir=self.log_dir)
        return self._experiment  # type: ignore[return-value]

    @rank_zero_only
    def _set_aside(self, resume: Path) -> None:
        aside = self._folder / EARLIER
        own = merge_rows(read_rows(aside), read_rows(self._folder / METRICS))
        self._earlier = own or read_rows(resume.parent.parent / METRICS)
        if self._earlier:
            write_rows(aside, self._earlier)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes buffered rows and merges the earlier ones; called at the end, and twice after an error."""
        super().finalize(status)
        if not self._earlier:
            return
        path = self._folder / METRICS
        write_rows(path, merge_rows(self._earlier, read_rows(path)))
        (self._folder / EARLIER).unlink(missing_ok=True)
        self._earlier = []


def merge_rows(earlier: Sequence[Row], later: Sequence[Row]) -> list[Row]:
    """Merges two lists of rows; for steps in both, the later rows are used."""
    first = min((int(row["step"]) for row in later), default=None)
    again = {_key(row) for row in later}
    kept = [row for row in earlier if first is None or (int(row["step"]) <= first and _key(row) not in again)]
    return [*kept, *later]


def _key(row: Row) -> tuple[int, frozenset[str]]:
    """Step and columns, because a step may have a row of losses and another of its epoch's validation."""
    return int(row["step"]), frozenset(key for key, value in row.items() if value)


def read_rows(path: Path) -> list[Row]:
    """The rows of a csv file that have a step; none if it does not exist, or links to a file of something else."""
    if path.is_symlink() or not path.is_file():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1]  # without a line that a killed process has begun
    rows = csv.DictReader(whole.splitlines())
    return [row for row in rows if None not in row.values() and str(row.get("step")).isdecimal()]


def write_rows(path: Path, rows: Sequence[Row], columns: Sequence[str] | None = None) -> None:
    """Writes rows atomically, by default with the union of their columns."""
    columns = columns or list(dict.fromkeys(key for row in rows for key in row))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
