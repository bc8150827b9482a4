"""What a run tells wandb, read back by wandb's own reader; runs without a network; going on with the same wandb run."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import pytest
from PIL import Image
from wandb_folder import read_wandb, wandb_files

from opsnet.callbacks.record import RUN_ID, flatten, keep_run_id, sweep_name, table_tags
from opsnet.errors import InputError
from opsnet.train import train

REFUSED = "http://127.0.0.1:9"
SHORT = ("data.module.batch_size=16", "trainer.max_epochs=1", "logger=wandb", "data.module.num_workers=0")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """No wandb account or setting of the user; SIGINT as before, which Lightning ignores after a KeyboardInterrupt."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "of_wandb"))
    monkeypatch.setenv("WANDB_SILENT", "true")
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def losses(folder: Path) -> list[tuple[int, float]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [(int(r["step"]), float(r["train/loss"])) for r in csv.DictReader(file) if r["train/loss"]]


def test_an_offline_run_holds_everything(train_config, tmp_path) -> None:
    folder = tmp_path / "run"
    options = ["experiment_name=table1_row7", "modulation.alpha=7.5", "logger.wandb.checkpoints=true"]
    metrics = train(train_config(folder, *SHORT, *options))
    (file,) = wandb_files(folder)
    run = read_wandb(file)
    assert (run.project, run.group, run.job_type) == ("opsnet", "", "train")
    assert run.tags == ["table1", "row7"]
    assert run.id == (folder / RUN_ID).read_text().strip()
    assert run.config["modulation/alpha"] == 7.5
    assert run.config["modulation/beta"] == 0.5
    assert run.config["seed"] == 0
    assert run.config["optim/scheduler/warmup"] == 2
    logged = dict(losses(folder))
    assert run.values("train/loss") == pytest.approx([logged[0], logged[1]])
    assert run.values("val/PQ") == [metrics["val/PQ"]]
    assert {k: run.summary[k] for k in metrics} == pytest.approx(metrics)
    assert run.artifacts == {f"model-{run.id}": ["last"]} or set(run.artifacts) == {f"model-{run.id}"}
    assert run.exit_code == 0


def test_pictures_have_class_labels_for_truth_and_prediction(train_config, tmp_path) -> None:
    folder = tmp_path / "run"
    train(train_config(folder, *SHORT))
    (file,) = wandb_files(folder)
    print(json.dumps(read_wandb(file).history[-3:], indent=1)[:6000])
    assert 0


def test_refused(train_config, tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", REFUSED)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    folder = tmp_path / "run"
    options = ["logger.wandb.offline=false", "logger.wandb.settings.init_timeout=1"]
    metrics = train(train_config(folder, *SHORT, *options))
    print(caplog.text, [p for p in wandb_files(folder)])
    assert 0
