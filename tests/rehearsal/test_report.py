"""What a rehearsal prints, and the time that it extends its steps to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from opsnet.rehearsal.checklist import Checklist
from opsnet.rehearsal.plan import Plan
from opsnet.rehearsal.report import Estimate, estimate, print_run, print_verdict
from opsnet.rehearsal.step import StepFigures

PLAN = Plan(1000, 2, 0, 5, 1, 1e-4, 10, 4, -1)  # 100 steps an epoch
FIGURES = StepFigures(seconds=[9.0, 0.5, 0.5], validation=(0.6, 2), peak=3 * 2**30, device="cuda:0")


def estimated(**changed: object) -> Estimate:
    given = {"loading": 0.8, "workers": 4, "validation_images": 100, "check_every": 2}
    return estimate(PLAN, FIGURES, **{**given, **changed})


def test_steps_and_validations_are_added_up() -> None:
    found = estimated()
    assert found.training == pytest.approx(400 * 0.5)
    assert found.validation == pytest.approx(2 * 100 * 0.3 / 5)  # twice, shared by five processes
    assert found.seconds == found.training + found.validation
    assert not found.waits


def test_slow_reading_sets_the_pace() -> None:
    found = estimated(workers=1)
    assert found.training == pytest.approx(400 * 0.8)
    assert found.waits


def test_without_workers_reading_comes_on_top() -> None:
    assert estimated(workers=0).training == pytest.approx(400 * 1.3)


def printed(capsys, *parts: object) -> str:
    print_run(*parts)
    return " ".join(capsys.readouterr().out.split())


def test_the_run_in_numbers(capsys) -> None:
    text = printed(capsys, PLAN, {"backbone": (23_500_000, 0), "CLIP, frozen": (0, 102_000_000)}, FIGURES, estimated())
    for line in (
        "steps 400 (4.0 epochs of 1,000 images)",
        "total batch 10 images a step (2 per device x 5 devices x 1 accumulated)",
        "learning rate 0.0001, 10 steps of warm-up",
        "parameters: backbone 23.50 M trained",
        "parameters: CLIP, frozen 102.00 M frozen",
        "peak memory 3.00 GiB of the GPU",
        "seconds a step 0.50 (the first, with its preparations, took 9.00)",
        "training, validation 3.3 minutes, 12 seconds",
        "if started now on this GPU",
    ):
        assert line in text


def test_what_is_not_known_is_left_out(capsys) -> None:
    text = printed(capsys, replace(PLAN, images=0), {}, None, None)
    assert "steps 4" not in text
    assert "estimated end" not in text
    assert "total batch 10" in text


def test_the_verdict_repeats_what_needs_a_hand(capsys) -> None:
    checklist = Checklist()
    checklist.ok("devices", "1 x CPU")
    checklist.fail("disk", "is full: free some")
    checklist.doubt("learning rate", "is high: lower it")
    checklist.crash("optimiser step", "stops", ValueError("odd"))
    print_verdict(checklist)
    out, err = capsys.readouterr()
    assert out.index("doubt learning rate: is high") < out.index("fails disk: is full: free some")
    assert "2 failures, 1 doubts, 1 checks passed" in out
    assert "1 x CPU" not in out
    assert "ValueError: odd" in err
