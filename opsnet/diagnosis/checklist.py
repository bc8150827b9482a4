"""The results of a rehearsal's checks, each in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from opsnet.utils.errors import InputError

Verdict = Literal["ok", "warning", "failure"]


@dataclass(frozen=True)
class CheckResult:
    """The result of one check.

    Attributes:
        check: what was checked, e.g. ``devices``.
        verdict: ``failure``: the training would stop, or train another network than requested; ``warning``: it would
            run, but possibly not as intended.
        sentence: names the file or key, and for a failure or warning the fix.
    """

    check: str
    verdict: Verdict
    sentence: str


@dataclass
class Checklist:
    """Collects results and shows each of them immediately, so that a later crash hides none.

    Args:
        show: called with each result.

    Attributes:
        results: all results, in order.
        crashes: errors that are not caused by user input; their tracebacks are printed at the end.
    """

    show: Callable[[CheckResult], object] = lambda result: None
    results: list[CheckResult] = field(default_factory=list)
    crashes: list[Exception] = field(default_factory=list)

    def ok(self, check: str, sentence: str) -> None:
        """Adds a passed check."""
        self._add(CheckResult(check, "ok", sentence))

    def warn(self, check: str, sentence: str) -> None:
        """Adds a warning: the training would run, but possibly not as intended."""
        self._add(CheckResult(check, "warning", sentence))

    def fail(self, check: str, sentence: str) -> None:
        """Adds a failure: the training would stop or be spoiled."""
        self._add(CheckResult(check, "failure", sentence))

    def crash(self, check: str, sentence: str, error: Exception) -> None:
        """Adds a failure whose cause may be a bug."""
        self.crashes.append(error)
        self.fail(check, sentence)

    @contextmanager
    def failing(self, check: str) -> Iterator[None]:
        """Turns an input error in the block into a failure of ``check``, and continues after the block."""
        try:
            yield
        except InputError as error:
            self.fail(check, str(error))

    def of(self, verdict: Verdict) -> list[CheckResult]:
        """The results with one verdict, in order."""
        return [result for result in self.results if result.verdict == verdict]

    def _add(self, result: CheckResult) -> None:
        self.results.append(result)
        self.show(result)
