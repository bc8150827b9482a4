"""What the checks of a rehearsal found, each in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from opsnet.utils.errors import InputError

Verdict = Literal["ok", "warning", "failure"]


@dataclass(frozen=True)
class CheckResult:
    """One sentence about one part of a run.

    Attributes:
        check: what was checked, e.g. ``devices``.
        verdict: ``failure``: the training would stop, or train another network than the one asked for; ``doubt``: it
            would run, perhaps not as meant.
        sentence: names the file or key, and for a failure or doubt the fix.
    """

    check: str
    verdict: Verdict
    sentence: str


@dataclass
class Checklist:
    """Collects results; ``show`` sees each as soon as it is known, so a later crash hides none.

    Args:
        show: called with each result.

    Attributes:
        results: all, in order.
        crashes: errors that are no user's input, whose traceback the report ends with.
    """

    show: Callable[[CheckResult], object] = lambda result: None
    results: list[CheckResult] = field(default_factory=list)
    crashes: list[Exception] = field(default_factory=list)

    def ok(self, check: str, sentence: str) -> None:
        """Nothing is wrong."""
        self._add(CheckResult(check, "ok", sentence))

    def warn(self, check: str, sentence: str) -> None:
        """The run would go on, perhaps not as meant."""
        self._add(CheckResult(check, "warning", sentence))

    def fail(self, check: str, sentence: str) -> None:
        """The run would stop or be spoiled."""
        self._add(CheckResult(check, "failure", sentence))

    def crash(self, check: str, sentence: str, error: Exception) -> None:
        """A failure whose cause may be a bug."""
        self.crashes.append(error)
        self.fail(check, sentence)

    @contextmanager
    def failing(self, check: str) -> Iterator[None]:
        """Takes an input error of the block for a failure of ``check``, and goes on behind the block."""
        try:
            yield
        except InputError as error:
            self.fail(check, str(error))

    def of(self, verdict: Verdict) -> list[CheckResult]:
        """The results of one verdict, in order."""
        return [result for result in self.results if result.verdict == verdict]

    def _add(self, result: CheckResult) -> None:
        self.results.append(result)
        self.show(result)
