"""What a rehearsal prints."""

from __future__ import annotations

from dataclasses import replace

from opsnet.diagnosis.checklist import Checklist
from opsnet.diagnosis.pace import Estimate
from opsnet.diagnosis.report import print_run, print_verdict
from opsnet.diagnosis.watch import StepMeasurements
from opsnet.training.recipe import StepPlan

PLAN = StepPlan({"batch_size": 10}, devices=5, accumulate=2, lr=1e-4, steps=400)
FIGURES = StepMeasurements(seconds=[9.0, 0.4, 0.6], validation=(0.6, 2), peak=3 * 2**30, device="cuda:0")


ESTIMATE = Estimate(training=400.0, validation=12.0, waits=False)


def printed(capsys, *parts: object) -> str:
    print_run(*parts)
    return " ".join(capsys.readouterr().out.split())


def test_the_run_in_numbers(capsys) -> None:
    text = printed(
        capsys, PLAN, 10, 1000, {"backbone": (23_500_000, 0), "CLIP, frozen": (0, 102_000_000)}, FIGURES, ESTIMATE
    )
    for line in (
        "steps 400 (4.0 epochs of 1,000 images)",
        "total batch 10 images per step (1 per device x 5 devices x 2 accumulated)",
        "learning rate 0.0001, 10 steps of warm-up",
        "parameters: backbone 23.50 M trained",
        "parameters: CLIP, frozen 102.00 M frozen",
        "peak memory 3.00 GiB of the GPU",
        "seconds per step 1.00 (0.50 per batch; the first, with setup, took 9.00)",
        "training, validation 6.7 minutes, 12 seconds",
        "if started now on this GPU",
    ):
        assert line in text


def test_what_is_not_known_is_left_out(capsys) -> None:
    text = printed(capsys, replace(PLAN, steps=0), 0, 0, {}, None, None)
    assert "steps 0" not in text
    assert "epochs" not in text
    assert "estimated end" not in text
    assert "total batch 10" in text
    assert printed(capsys, None, 0, 0, {}, None, None).startswith("the run")


def test_both_kinds_of_images_count(capsys) -> None:
    plan = replace(PLAN, totals={"batch_size": 10, "label_batch_size": 20})
    assert "total batch 10 + 20 images per step (1 + 2 per device" in printed(capsys, plan, 0, 1000, {}, None, None)


def test_the_verdict_repeats_what_needs_a_hand(capsys) -> None:
    checklist = Checklist()
    checklist.ok("devices", "1 x CPU")
    checklist.fail("disk", "is full: free some")
    checklist.warn("learning rate", "is high: lower it")
    checklist.crash("optimizer step", "stops", ValueError("odd"))
    print_verdict(checklist)
    out, err = capsys.readouterr()
    assert out.index("warning learning rate: is high") < out.index("fails disk: is full: free some")
    assert "2 failures, 1 warnings, 1 checks passed" in out
    assert "1 x CPU" not in out
    assert "ValueError: odd" in err
