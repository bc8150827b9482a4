"""Prints the progress of a sweep."""

from __future__ import annotations

import sys
import time

from opsnet.sweep.launch import Job, Outcome


class Report:
    """Prints the progress of a sweep; called when a job ends."""

    def __init__(self, jobs: list[Job], skipped: int) -> None:
        self.failed: list[Outcome] = []
        self._total, self._skipped, self._ended = len(jobs), skipped, 0
        self._names = names(jobs)
        self._start = time.monotonic()
        if skipped:
            print(f"{skipped} of {self._total} jobs are already finished", flush=True)

    def __call__(self, outcome: Outcome) -> None:
        """Prints one line about the job with the estimated remaining time, and the end of a failed job's log."""
        self._ended += 1
        number = outcome.job.number
        how = f"finished in {duration(outcome.seconds)}" if outcome.cause is None else f"FAILED: {outcome.cause}"
        done = self._skipped + self._ended
        print(f"[{done}/{self._total}] job {number} ({self._names[number]}) {how}{self._rest(done)}", flush=True)
        if outcome.cause is not None:
            self.failed.append(outcome)
            if outcome.tail:
                print("\n".join(f"    | {line}" for line in outcome.tail.splitlines()), flush=True)

    def _rest(self, done: int) -> str:
        left = self._total - done
        if not left:
            return ""
        each = (time.monotonic() - self._start) / self._ended  # over the whole sweep, to account for parallel jobs
        return f"; about {duration(each * left)} left"

    def close(self) -> None:
        """Prints a summary of the sweep."""
        finished = self._skipped + self._ended - len(self.failed)
        print(f"{finished} of {self._total} jobs finished", flush=True)
        for outcome in sorted(self.failed, key=lambda o: o.job.number):
            job = outcome.job
            print(
                f"failed: job {job.number} ({self._names[job.number]}) in {job.folder}: {outcome.cause}",
                file=sys.stderr,
            )
        if finished < self._total:
            print("run the same command with skip_done=true for the remaining jobs", file=sys.stderr)


def names(jobs: list[Job]) -> dict[int, str]:
    """Each job's overrides that are not common to all jobs; all overrides of a single job."""
    shared = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    return {job.number: " ".join(o for o in job.overrides if o not in shared) for job in jobs}


def duration(seconds: float) -> str:
    """``95`` -> ``1 min 35 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
