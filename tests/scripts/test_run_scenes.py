"""The main job: arguments, folders, and overrides that are valid for the commands."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from types import ModuleType

import pytest
from omegaconf import OmegaConf

from scripts.miniature import run_scenes
from scripts.miniature.run_log import RunLog


@pytest.fixture
def job(monkeypatch, tmp_path) -> ModuleType:
    """The job, with data and runs in ``tmp_path``."""
    monkeypatch.setenv("OPSNET_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OPSNET_RUNS", str(tmp_path / "runs"))
    return run_scenes


def arguments(job, *given: str) -> argparse.Namespace:
    return job._arguments(given)


def test_arguments(job) -> None:
    plain = arguments(job)
    assert (plain.seed, plain.smoke, plain.resume, plain.overrides) == (0, False, False, [])
    full = arguments(job, "--smoke", "--seed", "3", "--resume", "trainer.max_epochs=4", "overlap=0.5")
    assert (full.seed, full.smoke, full.resume) == (3, True, True)
    assert full.overrides == ["trainer.max_epochs=4", "overlap=0.5"]


def test_a_new_run_gets_a_new_folder_of_its_seed(job, tmp_path) -> None:
    folder = job._folder(arguments(job, "--seed", "2"))
    assert folder.parent == tmp_path / "runs" / "make_run_seed2"
    assert job._folder(arguments(job, "--smoke")).parent == tmp_path / "runs" / "smoke_seed0"


def test_resume_continues_the_newest_run_without_a_report(job, tmp_path) -> None:
    parent = tmp_path / "runs" / "make_run_seed0"
    for day, finished in (
        ("2026-01-01_00-00-00", False),
        ("2026-01-02_00-00-00", False),
        ("2026-01-03_00-00-00", True),
    ):
        (parent / day).mkdir(parents=True)
        if finished:
            (parent / day / "report.md").touch()
    assert job._folder(arguments(job, "--resume")) == parent / "2026-01-02_00-00-00"
    assert job._folder(arguments(job)) not in list(parent.iterdir())
    other = job._folder(arguments(job, "--resume", "--seed", "1"))
    assert other.parent == tmp_path / "runs" / "make_run_seed1"
    assert not other.exists()


def test_the_seconds_of_a_phase_add_up_across_interruptions(job, tmp_path) -> None:
    (tmp_path / "seconds.json").write_text(json.dumps({"training": 100.0, "CLIP": 5.0}))
    seconds = job._read_seconds(tmp_path)
    log = RunLog(tmp_path / "log.txt", lambda line: None)
    with log, pytest.raises(KeyboardInterrupt), job._timed(tmp_path, seconds, "training", log):
        raise KeyboardInterrupt
    again = job._read_seconds(tmp_path)
    assert 100 < again["training"] < 101
    assert again["CLIP"] == 5
    assert job._read_seconds(tmp_path / "new") == {}


def test_a_failed_process_stops_the_other_and_the_job(job) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    sleeper = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)  # as a job in the background
    assert sleeper.stdout.readline() == b"ready\n"
    failing = subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(3)"])
    start = time.monotonic()
    with pytest.raises(SystemExit, match="--resume"):
        job._wait(sleeper, failing)
    assert time.monotonic() - start < 50
    assert sleeper.poll() is not None
    assert failing.returncode == 3


def test_the_output_of_parallel_commands_is_one_log(job, tmp_path) -> None:
    shown: list[str] = []
    code = "import sys; print('step 1 of 2'); print('a warning', file=sys.stderr)"
    with RunLog(tmp_path / "log.txt", shown.append) as log:
        job._run(log, {name: [sys.executable, "-c", code] for name in ("opsnet", "other")})
    kept = (tmp_path / "log.txt").read_text().splitlines()
    assert sorted(line[9:] for line in kept) == [
        "opsnet: a warning", "opsnet: step 1 of 2", "other: a warning", "other: step 1 of 2",
    ]  # fmt: skip
    assert kept == shown


def test_the_settings_of_the_baseline_exist(job) -> None:
    from opsnet.inference.setting_lists import paper_settings
    from opsnet.inference.settings import parse_setting

    assert {parse_setting(name).name for name in job.BASELINE_SETTINGS} <= set(paper_settings())


def test_every_override_of_the_smoke_run_is_a_key_of_its_command(job, compose, tmp_path) -> None:
    smoke = job.smoke()
    assert compose("train_clip", *smoke["clip"]).prepare.count < 15000
    for experiment in job.MODELS.values():
        train = compose(
            "train", f"experiment={experiment}", "world=scenes", *smoke["world"], *smoke["train"], f"output={tmp_path}"
        )
        assert train.experiment_name == experiment
        assert train.paths.data == str(tmp_path / "data" / "smoke")
    compose("evaluate", "checkpoint=a", *smoke["world"], f"output={tmp_path}")


def test_the_fine_tunings_and_their_evaluations_compose(job, compose, tmp_path) -> None:
    seen = {}
    for name in job.TUNED:
        tuning = job.fine_tuning(tmp_path, name, [*job.smoke()["world"], *job.smoke()["fine_tuning"], "seed=3"])
        cfg = compose("train", *tuning.overrides, f"output={tmp_path}")
        assert cfg.init_from == str(tmp_path / "opsnet" / "checkpoints" / "last.ckpt")
        assert cfg.trainer.max_steps == 8
        weights = [OmegaConf.select(cfg, f"losses.{key}.weight") for key in ("image_label_matching", "mask_sum")]
        seen[name] = (*weights, cfg.losses.distillation.weight > 0, cfg.overlap, cfg.seed)
        scored = job.tuned_evaluation(tmp_path, name, job.smoke()["world"])
        found = compose("evaluate", *scored.overrides, f"output={tmp_path}")
        assert found.checkpoint == str(tmp_path / name / "checkpoints" / "last.ckpt")
        assert list(found.settings) == ["full/cls_iou", "query_only/cls_iou"]
    common = (0.6, 3)
    assert seen == {
        "control": (None, None, False, *common),
        "cls": (4.0, None, False, *common),
        "cls_masksum": (4.0, 0.4, False, *common),
        "distilled": (4.0, 0.4, True, *common),
    }
