"""Content of wandb's files, runs without a network, and resumption of the same wandb run."""

from __future__ import annotations

import csv
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import wandb
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf
from PIL import Image
from wandb_folder import finished_runs, wandb_files

from opsnet.training.callbacks.record import RUN_ID, flatten, keep_run_id, sweep_name, table_tags
from opsnet.training.run import train
from opsnet.utils.errors import InputError

SHORT = ("data.module.batch_size=16", "logger=wandb")  # two steps per epoch
ONLINE = ("logger.wandb.offline=false", "logger.wandb.settings.init_timeout=1", "trainer.max_epochs=1")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """Hides the user's wandb account and settings; restores SIGINT, which Lightning ignores after Ctrl-C."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "of_wandb"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb.teardown()  # it reads its environment once per process
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def losses(folder: Path) -> dict[int, float]:
    """The loss of each step, from metrics.csv."""
    with (folder / "metrics.csv").open(newline="") as file:
        return {int(r["step"]): float(r["train/loss"]) for r in csv.DictReader(file) if r["train/loss"]}


@pytest.fixture(scope="module")
def offline(train_config, tmp_path_factory):
    """Folder and metrics of a run with all features enabled."""
    folder = tmp_path_factory.mktemp("offline") / "run"
    options = ["experiment_name=opsnet_r50", "modulation.alpha=7.5", "logger.wandb.checkpoints=true"]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
            patch.setenv(name, str(folder.parent / "of_wandb"))
        return folder, train(train_config(folder, *SHORT, *options))


def test_an_offline_run_has_everything(offline) -> None:
    folder, metrics = offline
    (run,) = finished_runs(folder)
    assert (run.project, run.group, run.job_type, run.exit_code) == ("opsnet", "", "train", 0)
    assert run.tags == [f"table{k}" for k in (1, 2, 3, 4, 5, 6, 7, 9)]
    assert run.id == (folder / RUN_ID).read_text().strip()
    wanted = {"modulation/alpha": 7.5, "modulation/beta": 0.5, "seed": 0, "optim/scheduler/warmup": 2}
    assert {key: run.config.get(key) for key in wanted} == wanted
    assert run.values("train/loss") == pytest.approx(list(losses(folder).values()))
    assert len(run.values("val/PQ")) == 2
    assert {key: run.summary[key] for key in metrics} == pytest.approx(metrics)
    assert {"val/PQ", "train/loss"} <= metrics.keys()
    assert sorted(alias for name, alias in run.artifacts if name == f"model-{run.id}") == ["best", "last"]


def test_images_have_masks_with_class_labels(offline) -> None:
    folder, _ = offline
    (run,), (file,) = finished_runs(folder), wandb_files(folder)
    legends = run.config["_wandb"]["mask/class_labels"]
    assert sorted(key.rpartition("_wandb_delimeter_")[2] for key in legends) == ["ground_truth", "prediction"]
    for legend in legends.values():
        assert legend["value"]["0"] == "void"
        assert len(legend["value"]) == 19  # and the 18 names of scenes
    assert len(run.values("val/predictions/filenames")) == len(run.values("val/panoptic/all_masks")) == 2
    for image, masks in zip(run.values("val/panoptic/filenames")[0], run.values("val/panoptic/all_masks")[0]):
        drawn = np.asarray(Image.open(file.parent / "files" / masks["ground_truth"]["path"]))
        with Image.open(file.parent / "files" / image) as plain:
            assert plain.size == drawn.shape[::-1]
        assert drawn.max() > 0
        assert str(drawn.max()) in legends["val/panoptic_wandb_delimeter_ground_truth"]["value"]
        assert (file.parent / "files" / masks["prediction"]["path"]).is_file()


def test_checkpoints_are_artifacts_only_if_requested(train_config, tmp_path) -> None:
    train(train_config(tmp_path / "run", *SHORT, "trainer.max_epochs=1"))
    (run,) = finished_runs(tmp_path / "run")
    assert run.artifacts == []


def test_a_run_continues_without_a_network(train_config, tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    folder = tmp_path / "run"
    with caplog.at_level(logging.WARNING, "opsnet"):
        metrics = train(train_config(folder, *SHORT, *ONLINE))
    (warning,) = [r.getMessage() for r in caplog.records if r.name.startswith("opsnet")]
    assert warning.startswith("wandb cannot be reached (")
    assert "\n" not in warning
    assert (folder / "results.json").is_file()
    run = finished_runs(folder)[-1]
    assert wandb_files(folder)[-1].parent.name.startswith("offline-run-")
    assert run.id == (folder / RUN_ID).read_text().strip()
    assert run.values("train/loss") == pytest.approx(list(losses(folder).values()))
    assert run.summary["val/PQ"] == metrics["val/PQ"]


def test_without_a_key_the_message_states_the_fix(train_config, tmp_path) -> None:
    with pytest.raises(InputError, match=r"wandb cannot start .*`wandb login`.*logger\.wandb\.offline=true"):
        train(train_config(tmp_path / "run", *SHORT, *ONLINE))


class KillWandb(Callback):
    """Kills wandb's own process after the first step."""

    def on_train_batch_end(self, trainer, *_) -> None:
        if trainer.global_step == 1:
            killed = [path for path in Path("/proc").glob("[0-9]*") if is_wandb_child(path)]
            assert killed
            for path in killed:
                os.kill(int(path.name), signal.SIGKILL)


def is_wandb_child(process: Path) -> bool:
    try:
        parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        return int(parent) == os.getpid() and "wandb-core" in (process / "cmdline").read_text()
    except OSError:
        return False


CHILD = """
import logging, sys, wandb
from omegaconf import OmegaConf
import opsnet.training.callbacks
from opsnet.training.run import train
from test_record import KillWandb
logging.basicConfig(level=logging.WARNING, format="%(message)s")
opsnet.training.callbacks.ProgressLines = lambda **_: KillWandb()
teardown = wandb.teardown
wandb.teardown = lambda: (print("torn down"), teardown())
assert train(OmegaConf.load(sys.argv[1]))["val/PQ"] >= 0
"""


def test_a_run_continues_when_wandb_dies(train_config, tmp_path) -> None:
    """In a process of its own: wandb does not work again in one in which it was killed."""
    config = train_config(tmp_path / "run", *SHORT, "trainer.enable_progress_bar=true")
    OmegaConf.save(config, tmp_path / "config.yaml")
    here, tests = Path(__file__).parent, Path(__file__).parents[2]
    path = os.pathsep.join([str(here), str(tests), str(tests.parent)])
    command = [sys.executable, "-c", CHILD, str(tmp_path / "config.yaml")]
    child = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert child.returncode == 0, child.stderr
    assert "torn down" in child.stdout  # so that wandb does not fail again when this process ends
    assert "Traceback" not in child.stderr
    assert (tmp_path / "run" / "results.json").is_file()
    assert losses(tmp_path / "run").keys() == {0, 1, 2, 3}
    warnings = [line for line in child.stderr.splitlines() if line.startswith("wandb failed (")]
    assert len(warnings) == 1
    assert "metrics.csv has all metrics" in warnings[0]


class Interrupt(Callback):
    """Ctrl-C at the end of the third step."""

    def on_train_batch_end(self, trainer, *_) -> None:
        if trainer.global_step == 3:
            raise KeyboardInterrupt


def test_an_interrupted_run_keeps_its_metrics_and_resumes_the_same_wandb_run(
    train_config, tmp_path, monkeypatch, caplog
) -> None:
    folder = tmp_path / "run"
    config = train_config(folder, *SHORT)
    with monkeypatch.context() as patch:
        patch.setattr("opsnet.training.callbacks.LogImages", Interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    assert "wandb failed" not in caplog.text
    assert {0, 1} <= losses(folder).keys()
    (first,) = finished_runs(folder)
    assert first.exit_code == 1
    config.resume = "auto"
    train(config)
    assert {0, 1, 3} <= losses(folder).keys()
    runs = finished_runs(folder, 2)
    assert [run.id for run in runs] == [first.id] * 2
    first, second = (run.values("trainer/global_step") for run in runs)
    assert 0 < max(first) <= min(second)
    assert max(second) >= 3


def test_each_start_is_a_separate_wandb_run_unless_it_resumes(tmp_path) -> None:
    def start(name: str, resume: Path | None = None) -> str:
        keep_run_id(tmp_path / name, resume)
        return (tmp_path / name / RUN_ID).read_text()

    first = start("a")
    checkpoint = tmp_path / "a" / "checkpoints" / "last.ckpt"
    assert start("b") != first
    assert start("b", checkpoint) == first
    assert start("a", checkpoint) == first
    assert start("c", tmp_path / "elsewhere" / "checkpoints" / "last.ckpt") not in (first, "")
    assert start("a") != first


def test_the_group_is_the_sweep(tmp_path) -> None:
    from hydra import compose, initialize_config_dir
    from hydra.core.hydra_config import HydraConfig

    from opsnet.utils.configuration import config_dir

    assert sweep_name() is None  # train(cfg) without Hydra's main
    for mode, name in (("MULTIRUN", "grid"), ("RUN", None)):
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            overrides = [f"hydra.mode={mode}", f"hydra.sweep.dir={tmp_path / 'grid'}"]
            config = compose("train", overrides, return_hydra_config=True)
        try:
            HydraConfig.instance().set_config(config)
            assert sweep_name() == name
        finally:
            HydraConfig.instance().cfg = None


def test_tags() -> None:
    assert table_tags("opsnet_r101") == ["table2", "table8", "table9"]
    assert table_tags("opsnet_plus_r50_cls") == ["table3"]
    assert table_tags("scenes") == table_tags("my_opsnet_r50") == []


def test_nested_keys_are_joined() -> None:
    config = {"seed": 1, "modulation": {"alpha": 10.0, "of": {"what": [1, {"x": 2}]}}, "logger": {}}
    assert flatten(config) == {
        "seed": 1, "modulation/alpha": 10.0, "modulation/of/what": [1, {"x": 2}], "logger": {},
    }  # fmt: skip
