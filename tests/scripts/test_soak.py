"""How load and soak are judged, and a short run of all of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from scripts.soak.clients import Outcome, require_distinct, run_clients
from scripts.soak.watching import Sample, Watch, growing, row, slope


def samples(memory, handles=lambda t: 10, threads=lambda t: 5, count: int = 100) -> list[Sample]:
    """One sample per second of a run of 1,000 steps; the attributes are functions of the time in 0..1."""
    return [
        Sample(i, memory(i / (count - 1)), handles(i / (count - 1)), threads(i / (count - 1))) for i in range(count)
    ]


def test_what_is_given_back_again_is_no_growth() -> None:
    held = {0.0: 0, 0.5: 60_000, 1.0: 20_000}  # more and more often towards the end
    uneven = [held[round((17 * i) % 13 / 12)] * (i > 40 or i % 2) for i in range(400)]
    found = samples(lambda t: 500_000 + uneven[min(399, int(400 * t))])
    assert abs(slope(found, "memory", 1000)) < 1
    leaking = samples(lambda t: 500_000 + uneven[min(399, int(400 * t))] + 30_000 * t)
    assert slope(leaking, "memory", 1000) == pytest.approx(30, rel=0.1)


def test_a_slope_is_growth_per_step() -> None:
    assert slope(samples(lambda t: 500_000 + 30_000 * t), "memory", 1000) == pytest.approx(30)
    assert slope(samples(lambda t: 0, handles=lambda t: 10 + round(50 * t)), "handles", 1000) == pytest.approx(
        0.05, abs=0.01
    )


def test_the_warm_up_does_not_count() -> None:
    assert slope(samples(lambda t: min(t, 0.25) * 4_000_000), "memory", 1000) == pytest.approx(0, abs=1e-6)


def test_growth_above_the_bound_is_told() -> None:
    assert growing(samples(lambda t: 500_000), 1000) == []
    assert growing(samples(lambda t: 500_000 + 30_000 * t), 1000) == [
        "memory grow by 30.000 kB per step, more than 10"
    ]  # fmt: skip
    assert growing(samples(lambda t: 500_000 + 9_000 * t), 1000) == []  # below the bound per step
    assert growing(samples(lambda t: 500_000 + 9_000 * t), 100) == []  # 90 kB per step, but 9 MB in all
    (handles,) = growing(samples(lambda t: 0, handles=lambda t: round(20 * t)), 1000)
    (threads,) = growing(samples(lambda t: 0, threads=lambda t: round(20 * t)), 1000)
    assert handles.startswith("handles grow by 0.02") and threads.startswith("threads grow by 0.02")
    assert growing(samples(lambda t: 0, count=5), 1000) == ["5 samples are too few to judge: make the run longer"]


def test_a_row_has_the_memory_at_both_ends() -> None:
    cells = row("training", samples(lambda t: (100 + 10 * (t > 0.5)) * 1024), 1000)
    assert cells[:2] == ["training", "1,000"] and cells[3:6] == ["100", "110", "110"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the samples come from /proc")
def test_a_process_is_watched_with_its_children() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = bytearray(60_000_000); input()'])"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
    with Watch(process.pid, every=0.02) as watch:
        end = time.monotonic() + 20
        while watch.peak < 60 and time.monotonic() < end:
            time.sleep(0.02)
        process.communicate(b"\n")
    assert watch.peak > 60
    assert all(s.memory > 0 for s in watch.samples)
    assert max(s.threads for s in watch.samples) >= 2 and watch.samples[-1].handles >= 3


GROWING = """
import os, threading
print("ready", flush=True)
input()
ended = threading.Event()
more = [threading.Thread(target=ended.wait, daemon=True) for _ in range(5)]
files = [open(os.devnull) for _ in range(7)]
for thread in more:
    thread.start()
print("more", flush=True)
input()
"""


def test_threads_and_handles_are_seen() -> None:
    """Of a process of its own: threads of this one end when they like."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", GROWING], stdin=pipe, stdout=pipe) as process:
        assert process.stdin and process.stdout and process.stdout.readline() == b"ready\n"
        with Watch(process.pid, every=0.02) as watch:
            time.sleep(0.3)
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"more\n"
            time.sleep(0.3)
        process.communicate(b"\n")
    first, last = watch.samples[0], watch.samples[-1]
    assert (last.threads - first.threads, last.handles - first.handles) == (5, 7)


# --- clients ----------------------------------------------------------------------------------------------------------


def test_mixed_results_are_found() -> None:
    shared: list[str] = []

    def mixing(name: str):
        def ask() -> str:
            shared[:] = [name]  # a place that all requests share
            time.sleep(0.002)
            return shared[0]

        return ask

    mixed = run_clients([[(name, mixing(name), name)] for name in "abcd"], 0.01)
    assert mixed.mixed and not mixed.failures
    assert any("had another result than expected" in fault for fault in mixed.faults())
    apart = run_clients([[(name, lambda name=name: name, name)] for name in "abcd"], 0.002)
    assert apart.requests > 4 and apart.faults() == []


def test_failures_are_counted_and_end_nothing() -> None:
    def fail() -> str:
        time.sleep(0.005)
        raise OSError("503")

    outcome = run_clients([[("a", fail, "a")], [("b", lambda: time.sleep(0.005) or "b", "b")]], 0.005)
    assert len(outcome.failures) > 1 and len(outcome.seconds) > 1
    (fault,) = outcome.faults()
    assert fault.endswith("requests failed, the first: a: OSError: 503")
    assert Outcome().faults() == ["no request was made"]


def test_percentiles_are_of_the_successful_requests() -> None:
    cells = Outcome(seconds=[i / 100 for i in range(101)], failures=["a"]).row("page", 16, 1, 500)
    assert cells == ["page", "16", "102", "1.7", "0.50", "0.99", "1", "0", "500"]


def test_equal_expectations_are_refused() -> None:
    with pytest.raises(ValueError, match="mixed results would not be seen"):
        require_distinct([[("a", str, "x")], [("b", str, "x")]])


@pytest.mark.slow
def test_a_short_run_of_everything(tmp_path, monkeypatch, lenient_checkpoint) -> None:
    pytest.importorskip("gradio")
    from scripts.soak.__main__ import main

    monkeypatch.setenv("OPSNET_RUNS", str(tmp_path / "none"))
    report = tmp_path / "report.md"
    arguments = ["--minutes", "0.3", "--clients", "3", "--steps", "80", "--output", str(report)]
    code = main([*arguments, "--checkpoint", str(lenient_checkpoint)])
    text = report.read_text()
    for title in ("Load: page", "Load: page, over time", "Load: predictor", "Soak: training", "Soak: predictions"):
        assert f"## {title}\n" in text
    # A run of seconds says nothing about memory; all else must hold.
    failures = [line for line in text.splitlines() if "**Failed:**" in line and "grow by" not in line]
    assert failures == []
    assert code == int("**Failed:**" in text)
