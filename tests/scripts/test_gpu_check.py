"""``make gpu-check`` on a CPU: every section measures, and what fails is reported while the rest goes on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from scripts.gpu_check import __main__ as command
from scripts.gpu_check import cases, evaluation, kernels, networks, training
from scripts.gpu_check.measure import Setup
from scripts.gpu_check.report import Table


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup("cpu", True, tmp_path)


def cells(table: Table, column: str) -> list[str]:
    return [row[table.columns.index(column)] for row in table.rows]


def test_every_operation_is_compared_in_both_precisions_and_passes(setup: Setup) -> None:
    (table,) = kernels.check_kernels(setup)
    assert table.failures == []
    assert {row[0].split(",")[0].split(" of ")[0] for row in table.rows} >= {"deformable sampling", "mask_average"}
    assert set(cells(table, "precision")) == {"fp32", "bf16"}
    assert set(cells(table, "pass")) == {"forward", "forward, backward"}
    assert len({row[0] for row in table.rows}) == len(kernels.CASES)
    assert all(float(ms) > 0 for ms in cells(table, "ours (ms)"))


def test_a_wrong_kernel_and_one_that_raises_are_reported_and_the_others_measured(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = cases.pooling(setup)
    wrong = dataclasses.replace(right, name="wrong", ours=lambda f, w: 1.01 * right.ours(f, w))
    broken = dataclasses.replace(right, name="broken", ours=lambda f, w: (f / 0).missing)
    monkeypatch.setattr(kernels, "CASES", (lambda _: wrong, lambda _: broken, lambda _: right))
    (table,) = kernels.check_kernels(setup)
    assert [row[0] for row in table.rows if row[-1] != "failed"] == ["wrong"] * 2 + [right.name] * 4  # bf16: 3 %
    assert table.failures[0].startswith("wrong fp32 forward: ArithmeticError: the error is 1.0e-02")
    assert sum("broken" in failure and "AttributeError" in failure for failure in table.failures) == 4


def test_a_wrong_gradient_alone_is_found(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    right = cases.pooling(setup)
    wrong = dataclasses.replace(right, ours=lambda f, w: right.ours(f.detach() + 0.9 * (f - f.detach()), w))
    monkeypatch.setattr(kernels, "CASES", (lambda _: wrong,))
    (table,) = kernels.check_kernels(setup)
    assert [failure.split(":")[0].removeprefix(right.name) for failure in table.failures] == [
        " fp32 forward, backward", " bf16 forward, backward",
    ]  # fmt: skip


def test_the_forward_pass_agrees_with_mask2former(setup: Setup) -> None:
    (table,) = networks.check_forward(setup)
    assert table.failures == []
    assert cells(table, "precision") == ["fp32", "bf16"]
    assert float(cells(table, "equal mask signs")[0].rstrip("%")) > 99.9


def test_a_network_with_other_weights_fails(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "copy_weights", lambda model, peer: None)
    (table,) = networks.check_forward(setup)
    assert "of the mask signs are those of Mask2Former" in table.failures[0]


def test_the_training_of_the_readme_takes_its_steps(setup: Setup) -> None:
    (table,) = training.check_training(setup)
    assert table.failures == []
    assert cells(table, "images per step") == ["4", "4"]
    first, last = (float(loss) for loss in cells(table, "loss, first and last step")[0].split(","))
    assert 0 < last < first


def test_the_steps_keep_the_experiments_trainer(setup: Setup) -> None:
    from scripts.benchmarks.untrained import untrained_config
    from scripts.gpu_check.data import configure

    cfg, own = configure(setup, train=4, val=1), untrained_config(["experiment=opsnet_r50"])
    same = ("precision", "gradient_clip_val", "accumulate_grad_batches", "deterministic", "num_sanity_val_steps")
    assert {key: cfg.trainer[key] for key in same} == {key: own.trainer[key] for key in same}
    assert cfg.trainer.precision == "bf16-mixed"
    assert cfg.optim.optimizer == own.optim.optimizer
    assert cfg.losses == own.losses


def test_the_evaluation_scores_what_the_network_would_predict(setup: Setup) -> None:
    (table,) = evaluation.check_evaluation(setup)
    assert table.failures == []
    assert cells(table, "settings") == ["1 setting", "Table 6"]
    assert all(50 < float(pq) < 100 for pq in cells(table, "PQ"))
    assert cells(table, "PQ") == cells(table, "PQ on the CPU")


def test_a_section_that_crashes_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(command.SECTIONS, "unknown", lambda setup: [])  # the section's own process does not know it
    output = tmp_path / "new" / "report.md"
    code = command.main(["--device", "cpu", "--only", "unknown", "kernels", "--output", str(output), "--commit", "abc"])
    report = output.read_text()
    assert code == 1
    assert "**Failed:** RuntimeError: the process ended with exit status 2" in report
    assert "| deformable sampling, 1 x 64² | fp32 | forward | " in report
    assert f"torch {torch.__version__}" in report and "commit abc" in report
    assert "failed: unknown" in capfd.readouterr().out


def test_sections_without_time_are_left_out_and_said_so(tmp_path: Path) -> None:
    output = tmp_path / "report.md"
    assert command.main(["--device", "cpu", "--minutes", "0", "--output", str(output)]) == 1
    assert output.read_text().count("TimeoutError: left out") == len(command.SECTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("section", ["ddp", "fcclip"])
def test_the_longer_sections(section: str, tmp_path: Path) -> None:
    output = tmp_path / "report.md"
    assert command.main(["--device", "cpu", "--only", section, "--output", str(output)]) == 0, output.read_text()
    assert ("| 2 | gloo | 2 |" if section == "ddp" else "| rn50 | 64 x 64 | bf16 |") in output.read_text()
