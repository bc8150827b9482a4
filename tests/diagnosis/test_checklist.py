"""The list of results: in order, shown as they come, input errors taken for failures."""

from __future__ import annotations

import pytest

from opsnet.diagnosis.checklist import Checklist, CheckResult
from opsnet.utils.errors import DatasetError


def test_results_are_shown_as_they_come_and_sorted_by_verdict() -> None:
    shown: list[CheckResult] = []
    checklist = Checklist(show=shown.append)
    checklist.ok("a", "is there")
    checklist.warn("b", "is odd: change it")
    checklist.fail("c", "is missing: add it")
    assert [result.verdict for result in shown] == ["ok", "warning", "failure"]
    assert checklist.of("failure") == [CheckResult("c", "failure", "is missing: add it")]
    assert checklist.of("warning") == [CheckResult("b", "warning", "is odd: change it")]


def test_an_input_error_is_a_failure_and_the_checks_go_on() -> None:
    checklist = Checklist()
    with checklist.failing("set train"):
        raise DatasetError("x.png is missing: add it")
    assert checklist.of("failure") == [CheckResult("set train", "failure", "x.png is missing: add it")]


def test_a_bug_is_no_failure_of_the_input() -> None:
    with pytest.raises(ZeroDivisionError), Checklist().failing("set train"):
        raise ZeroDivisionError


def test_a_crash_keeps_its_error() -> None:
    checklist, error = Checklist(), RuntimeError("odd")
    checklist.crash("optimizer step", "stops", error)
    assert checklist.crashes == [error]
    assert [result.check for result in checklist.of("failure")] == ["optimizer step"]
