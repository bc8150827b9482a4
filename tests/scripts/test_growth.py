"""python -m scripts.benchmarks growth: exponents by hand, a planted quadratic, and every row in small."""

from __future__ import annotations

import json
import math
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opsnet.utils.errors import InputError
from scripts.benchmarks import growth
from scripts.benchmarks.growing import WORKS, Work

SIZES = (100, 200, 400)


class Clock:
    """Stands for the module time: only planted work takes time."""

    now = 0.0

    def process_time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(growth, "time", stopped)
    return stopped


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[float], Callable[[], object]]], None]:
    """Replaces a row of the table by work whose time and memory are known."""

    def to(prepare: Callable[[float], Callable[[], object]]) -> None:
        monkeypatch.setitem(growth.WORKS, "score_images", Work(prepare, SIZES, SIZES))

    return to


def rows(printed: str) -> Iterator[dict]:
    yield from json.loads(printed)["rows"]


def test_the_exponent_is_the_slope_in_logarithms() -> None:
    assert growth.exponent(SIZES, [3 * n for n in SIZES]) == pytest.approx(1)
    assert growth.exponent(SIZES, [0.1 * n**2 for n in SIZES]) == pytest.approx(2)
    assert growth.exponent(SIZES, [5, 5, 5]) == pytest.approx(0)


@pytest.mark.parametrize(("power", "passes"), [(1, True), (2, False)])
def test_planted_quadratic_time_is_found_and_named(power: int, passes: bool, clock, plant, capsys) -> None:
    def prepare(size: float) -> Callable[[], object]:
        return lambda: setattr(clock, "now", clock.now + size**power)

    plant(prepare)
    arguments = ["--only", "score_images", "--json"]
    if passes:
        growth.main(arguments)
    else:
        with pytest.raises(SystemExit, match=r"score_images: time grows with exponent 2\.00, above its bound of 1\.2"):
            growth.main(arguments)
    (row,) = rows(capsys.readouterr().out)
    assert row["exponents"][0] == pytest.approx(power)


def test_planted_quadratic_memory_is_found_and_named(clock, plant, capsys) -> None:
    def prepare(size: float) -> Callable[[], object]:
        def run() -> None:
            clock.now += size
            bytearray(b"1") * int(size**2 * 400)  # 4, 16 and 64 MB

        return run

    plant(prepare)
    with pytest.raises(
        SystemExit, match=r"score_images: memory grows with exponent [12]\.\d+, above its bound of 0\.5"
    ):
        growth.main(["--only", "score_images"])
    assert "score_images" in capsys.readouterr().out


def test_every_row_runs_in_small_and_has_bounds(clock, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without bounds and with a clock of its own: time and memory of such sizes say nothing."""
    assert set(growth.read_bounds()) == set(WORKS)
    monkeypatch.setattr(growth, "read_bounds", lambda: dict.fromkeys(WORKS, (math.inf, math.inf)))
    clock.process_time = iter(range(10**6)).__next__  # each run takes one second
    growth.main(["--small", "--rounds", "1", "--json"])
    found = {row["name"]: row for row in rows(capsys.readouterr().out)}
    assert list(found) == list(WORKS)
    for name, row in found.items():
        assert row["sizes"] == list(WORKS[name].small)
        assert row["seconds"] == [1, 1, 1]
        assert min(row["megabytes"]) >= growth.LEAST_MB


def test_bounds_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(
        "\n## Growth\n\n| row | time |\n|---|---|\n| `a` | 1.2 | 0.5 | more |\n\n## Next\n\n| `b` | 1 | 1 |\n"
    )
    assert growth.read_bounds(page) == {"a": (1.2, 0.5)}
    page.write_text("\n## Growth\n\n| `a` | fast | 0.5 |\n")
    with pytest.raises(
        InputError, match=r"benchmarks\.md: the bounds of `a` must be two numbers, got \['fast', '0\.5'\]"
    ):
        growth.read_bounds(page)
    page.write_text("nothing")
    with pytest.raises(InputError, match=r"benchmarks\.md has no table of bounds below '## Growth'"):
        growth.read_bounds(page)


def test_the_command_names_what_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["scripts.benchmarks", "speed"])
    with pytest.raises(SystemExit, match="usage: python -m scripts.benchmarks growth"):
        runpy.run_module("scripts.benchmarks", run_name="__main__")
