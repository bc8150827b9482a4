"""Training from a configuration: the files of a run, and that interruptions do not change the result."""

from __future__ import annotations

import csv
import itertools
import json
import math
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from small_training import SMALL

from opsnet.data.loaders import ResumableLoader
from opsnet.training.run import train
from opsnet.utils.errors import CheckpointError

STEPS = 8  # two epochs of four


def load(path: Path) -> dict:
    return torch.load(path, map_location="cpu", weights_only=False)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def logged_values(folder: Path) -> list[tuple[int, str, str]]:
    """(step, name, value as text) of every value in metrics.csv, sorted."""
    found = [(int(row["step"]), k, v) for row in rows(folder) for k, v in row.items() if k != "step" and v]
    return sorted(found)


@pytest.fixture(autouse=True)
def sigint():
    """Restores the SIGINT handler, since Lightning ignores SIGINT after a KeyboardInterrupt."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def stopping(hook: str, count: int, error: type[BaseException]) -> type[Callback]:
    """A callback that raises ``error`` at the ``count``-th call of ``hook``."""

    def method(self, trainer, module, *rest) -> None:
        self.calls += 1
        if self.calls == count:
            raise error("stopped by the test")

    def start(self) -> None:
        self.calls = 0

    return type("Stop", (Callback,), {"__init__": start, hook: method})


def failing_reader(count: int, error: type[BaseException]):
    """A method that raises ``error`` instead of reading the ``count``-th training batch of the process."""
    read = itertools.count(1)

    def batches(self):
        for batch in whole(self):
            if next(read) == count:
                raise error("stopped by the test")
            yield batch

    whole = ResumableLoader._batches
    return batches


def stop_and_resume(monkeypatch, config, hook: str, count: int, error: type[BaseException]) -> dict[str, float]:
    """Metrics of a training that was interrupted at the ``count``-th call of a hook and resumed with resume=auto.

    The hook ``read`` is the reading of a training batch, which is one batch ahead of the training.
    """
    with monkeypatch.context() as patch:
        if hook == "read":
            patch.setattr(ResumableLoader, "_batches", failing_reader(count, error))
        else:
            patch.setattr("opsnet.training.callbacks.LogImages", stopping(hook, count, error))
        with pytest.raises(error):
            train(config)
    assert not (Path(config.output) / "results.json").exists()
    assert (Path(config.output) / "checkpoints" / "last.ckpt").is_file()
    config.resume = "auto"
    return train(config)


# --- what a run leaves behind -----------------------------------------------------------------------------------------


def test_the_run_writes_its_results(trained) -> None:
    results = json.loads((trained.folder / "results.json").read_text())
    assert results["experiment"] == "train"
    assert results["seed"] == 0
    assert results["metrics"] == trained.metrics
    assert results["seconds"]["training"] > 0
    assert "torch" in results["versions"]
    assert {f"val/{k}" for k in ("PQ", "PQth", "PQst", "SQ", "RQ")} <= set(trained.metrics)
    assert all(0 <= v <= 100 for k, v in trained.metrics.items() if k.startswith("val/"))


def test_the_losses_of_every_step_are_logged_once_and_finite(trained) -> None:
    logged = logged_values(trained.folder)
    for name in ("loss", "cross_entropy", "mask_bce", "dice", "iou"):
        values = [(step, float(v)) for step, key, v in logged if key == f"train/{name}"]
        assert [step for step, _ in values] == list(range(STEPS))
        assert all(math.isfinite(v) and v > 0 for _, v in values)
    parts = dict.fromkeys(range(STEPS), 0.0)
    for step, key, v in logged:
        if key.startswith("train/") and key != "train/loss":
            parts[step] += float(v)
    assert parts == pytest.approx({s: float(v) for s, key, v in logged if key == "train/loss"}, rel=1e-5)
    assert [step for step, key, _ in logged if key == "val/PQ"] == [3, 7]


def test_the_learning_rate_follows_the_schedule(trained) -> None:
    rates = {
        s: float(v) for s, key, v in logged_values(trained.folder) if key.startswith("lr-") and key.endswith("pg1")
    }
    assert [rates[s] / 1e-3 for s in range(STEPS)] == pytest.approx([0.5, 1, 1, 1, 1, 1, 0.3, 0.099])


def test_the_checkpoint_holds_the_hash_of_clip_and_none_of_its_weights(trained, world) -> None:
    checkpoint = load(trained.checkpoint)
    assert checkpoint["global_step"] == STEPS
    assert not [k for k in checkpoint["state_dict"] if "clip." in k.removeprefix("model.")[:5]]
    assert [k for k in checkpoint["state_dict"] if k.startswith("model.query_decoder.")]
    assert "model.no_object_embed" in checkpoint["state_dict"]
    clip_hash = checkpoint["opsnet"]["clip_hash"]
    assert [len(part) for part in clip_hash.split("-")] == [12, 6]  # hashes of weights and architecture
    assert checkpoint["opsnet"]["config"]["clip"]["model"]["weights"] == str(world.clip)
    config = checkpoint["opsnet"]["config"]  # no file of the training is needed to load it
    assert config["backbone"].get("pretrained", False) is False
    assert config["backbone"].get("weights") is config["model"]["weights"] is None
    assert len(checkpoint["opsnet"]["config"]["vocabulary"]["categories"]) == 18
    assert trained.checkpoint.stat().st_size < 20e6


def test_last_and_best_checkpoints_exist(trained) -> None:
    folder = trained.checkpoint.parent
    assert sorted(p.name for p in folder.iterdir()) == ["best.ckpt", "last.ckpt", "last.previous.ckpt"]
    assert load(folder / "last.previous.ckpt")["global_step"] == 4
    assert load(folder / "best.ckpt")["global_step"] in (4, 8)


def test_the_same_seed_trains_the_same_and_another_one_does_not(trained, train_config, world, tmp_path) -> None:
    def losses(folder: Path) -> list[tuple[int, str, str]]:
        return [f for f in logged_values(folder) if f[0] < 2 and f[1].startswith("train/")]

    for name, extra in (("again", []), ("other", ["seed=1", f"data.root={world.data / 'scenes_0'}"])):
        train(train_config(tmp_path / name, "trainer.max_epochs=1", "+trainer.limit_train_batches=2", *extra))
    assert losses(tmp_path / "again") == losses(trained.folder) != losses(tmp_path / "other")


def test_the_real_worlds_trainer_clips_gradients_under_mixed_precision(world_overrides, compose, tmp_path) -> None:
    sizes = [o for o in SMALL if not o.startswith("trainer.")]
    trainer = ["trainer=default", "trainer.accelerator=cpu", "trainer.max_epochs=1", "trainer.log_every_n_steps=1"]
    paths = [f"output={tmp_path / 'run'}", f"paths.runs={tmp_path}"]
    config = compose("train", *world_overrides, *sizes, *trainer, *paths)
    assert (config.trainer.precision, config.trainer.gradient_clip_val) == ("bf16-mixed", 0.01)
    assert "val/PQ" in train(config)
    assert load(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"] == STEPS // 2
    assert all(math.isfinite(float(v)) for _, key, v in logged_values(tmp_path / "run") if key == "train/loss")


# --- exact resumption -------------------------------------------------------------------------------------------------

STOPS = {
    "before the first step of an epoch": ("on_train_batch_start", 5, RuntimeError),
    "within a step": ("on_before_optimizer_step", 6, KeyboardInterrupt),
    "after a step": ("on_train_batch_end", 6, RuntimeError),
    "after the last step of an epoch": ("on_train_batch_end", 4, RuntimeError),
    "in the validation": ("on_validation_batch_end", 1, KeyboardInterrupt),
    "between epochs": ("on_train_epoch_start", 2, RuntimeError),
    "while the first batch of an epoch is read": ("read", 5, RuntimeError),
    "while the second batch of an epoch is read": ("read", 6, RuntimeError),
    "while the last batch of an epoch is read": ("read", 8, RuntimeError),
    "in the last validation": ("on_validation_batch_start", 4, RuntimeError),
}


@pytest.mark.parametrize("stop", STOPS)
def test_a_stopped_and_resumed_run_equals_the_uninterrupted_one(
    stop, trained, train_config, tmp_path, monkeypatch
) -> None:
    config = train_config(tmp_path / "run", "data.module.eval_batch_size=4")
    hook, count, error = STOPS[stop]
    metrics = stop_and_resume(monkeypatch, config, hook, count, error)
    # Lightning logs a step's losses after the hooks of its end.
    lost = {count - 1} if hook == "on_train_batch_end" else set()
    if stop == "in the last validation":  # without a step there is no last loss
        assert metrics == {k: v for k, v in trained.metrics.items() if k.startswith("val/")}
    else:
        assert metrics == trained.metrics
    assert [f for f in logged_values(tmp_path / "run") if f[0] not in lost or f[1][:4] == "val/"] == [
        f for f in logged_values(trained.folder) if f[0] not in lost or f[1][:4] == "val/"
    ]
    ours, theirs = (load(f / "checkpoints" / "last.ckpt") for f in (tmp_path / "run", trained.folder))
    assert (ours["global_step"], ours["epoch"]) == (theirs["global_step"], theirs["epoch"])
    assert ours["state_dict"].keys() == theirs["state_dict"].keys()
    assert all(torch.equal(ours["state_dict"][k], theirs["state_dict"][k]) for k in theirs["state_dict"])
    assert json.loads((tmp_path / "run" / "results.json").read_text())["metrics"] == metrics


ACCUMULATED_STOPS = {
    "while the second batch of a step is read": ("on_train_batch_start", 6, RuntimeError),
    "within the second batch of a step": ("on_after_backward", 6, KeyboardInterrupt),
    "after the first batch of a step": ("on_train_batch_end", 3, RuntimeError),
    "after a step": ("on_train_batch_end", 4, RuntimeError),
    "in the validation": ("on_validation_batch_end", 1, KeyboardInterrupt),
}


@pytest.fixture(scope="module")
def accumulated(train_config, tmp_path_factory) -> tuple[Path, dict[str, float]]:
    """Folder and metrics of a run with two epochs of two steps, each of two accumulated batches."""
    folder = tmp_path_factory.mktemp("accumulated") / "run"
    return folder, train(train_config(folder, *ACCUMULATED))


ACCUMULATED = ("data.module.batch_size=16", "data.module.device_batch_size=8")


def test_accumulated_batches_count_as_steps(accumulated, trained) -> None:
    folder, metrics = accumulated
    checkpoint = load(folder / "checkpoints" / "last.ckpt")
    assert checkpoint["global_step"] == 4
    assert [s for s, key, _ in logged_values(folder) if key == "train/loss"] == list(range(4))
    rates = {s: float(v) for s, key, v in logged_values(folder) if key.startswith("lr-") and key.endswith("pg1")}
    assert [rates[s] / 1e-3 for s in range(4)] == pytest.approx([0.5, 1, 1, 0.3])  # drops at 0.7 of four steps
    first = {key: float(v) for s, key, v in logged_values(folder) if s == 0}
    assert first["train/loss"] == pytest.approx(
        sum(v for k, v in first.items() if k.startswith("train/") and k != "train/loss"), rel=1e-5
    )
    assert metrics["val/PQ"] >= 0


@pytest.mark.parametrize("stop", ACCUMULATED_STOPS)
def test_a_run_stopped_within_an_accumulated_step_equals_the_uninterrupted_one(
    stop, accumulated, train_config, tmp_path, monkeypatch
) -> None:
    hook, count, error = ACCUMULATED_STOPS[stop]
    config = train_config(tmp_path / "run", *ACCUMULATED, "data.module.eval_batch_size=4")
    metrics = stop_and_resume(monkeypatch, config, hook, count, error)
    folder, expected = accumulated
    lost = {count // 2 - 1} if stop == "after a step" else set()
    assert metrics == expected
    assert [f for f in logged_values(tmp_path / "run") if f[0] not in lost] == [
        f for f in logged_values(folder) if f[0] not in lost
    ]
    ours, theirs = (load(f / "checkpoints" / "last.ckpt") for f in (tmp_path / "run", folder))
    assert (ours["global_step"], ours["epoch"]) == (theirs["global_step"], theirs["epoch"])
    assert all(torch.equal(ours["state_dict"][k], theirs["state_dict"][k]) for k in theirs["state_dict"])


# --- where to resume --------------------------------------------------------------------------------------------------


def test_resuming_a_finished_run_keeps_its_results(trained, train_config, tmp_path) -> None:
    shutil.copytree(trained.folder, tmp_path / "run")
    before = (tmp_path / "run" / "results.json").read_text()
    assert train(train_config(tmp_path / "run", "resume=auto")) == trained.metrics
    assert (tmp_path / "run" / "results.json").read_text() == before
    assert logged_values(tmp_path / "run") == logged_values(trained.folder)


def test_a_run_resumed_in_another_folder_keeps_the_metrics(trained, train_config, tmp_path) -> None:
    more = train_config(tmp_path / "more", f"resume={trained.checkpoint}", "trainer.max_epochs=3")
    with pytest.raises(CheckpointError, match=r"trainer\.max_epochs was 2 and is 3\. Resume with the same"):
        train(more)
    more.resume_changed = True
    train(more)
    losses = [step for step, key, _ in logged_values(tmp_path / "more") if key == "train/loss"]
    assert losses == list(range(STEPS + 4))
    assert load(tmp_path / "more" / "checkpoints" / "last.ckpt")["global_step"] == STEPS + 4


# --- OPSNet+: from a trained checkpoint, with image labels ------------------------------------------------------------


PLUS = ("experiment=scenes_plus", "matching.points=64", "trainer.max_steps=6", "trainer.max_epochs=-1")
KEPT = ("losses.distillation.weight=0.5", "losses.image_label_matching.iou_threshold=0")


@pytest.fixture(scope="module")
def plus(trained, train_config, tmp_path_factory) -> tuple[Path, tuple[str, ...]]:
    """Folder and overrides of a fine-tuning with six steps, four of them in the first epoch."""
    folder = tmp_path_factory.mktemp("plus") / "run"
    overrides = (*PLUS, *KEPT, f"init_from={trained.checkpoint}", "data.module.label_batch_size=3")
    train(train_config(folder, *overrides))
    return folder, overrides


def test_fine_tuning_trains_on_both_kinds_and_starts_where_the_checkpoint_ended(plus, trained) -> None:
    folder, _ = plus
    logged = {(step, key): float(v) for step, key, v in logged_values(folder)}
    names = ("cross_entropy", "mask_bce", "dice", "iou", "image_label_matching", "mask_sum", "distillation")
    for step in range(6):
        parts = [logged[step, f"train/{name}"] for name in names]
        assert all(math.isfinite(v) for v in parts)
        assert sum(parts) == pytest.approx(logged[step, "train/loss"], rel=1e-5)
    assert logged[0, "train/distillation"] < 1e-5 < logged[5, "train/distillation"]
    first, start = load(folder / "checkpoints" / "last.ckpt"), load(trained.checkpoint)
    counters = {k for k in start["state_dict"] if k.endswith("num_batches_tracked")}  # frozen norms have none
    assert first["state_dict"].keys() == start["state_dict"].keys() - counters  # the frozen copy is not stored
    assert first["global_step"] == 6
    assert first["opsnet"]["config"]["label_vocabulary"]["name"] == "scenes_labels"


def test_an_interrupted_fine_tuning_resumes_exactly(plus, train_config, tmp_path, monkeypatch) -> None:
    folder, overrides = plus
    config = train_config(tmp_path / "run", *overrides)
    stop_and_resume(monkeypatch, config, "on_before_optimizer_step", 3, KeyboardInterrupt)
    ours, theirs = (load(f / "checkpoints" / "last.ckpt") for f in (tmp_path / "run", folder))
    assert all(torch.equal(ours["state_dict"][k], theirs["state_dict"][k]) for k in theirs["state_dict"])
    assert logged_values(tmp_path / "run") == logged_values(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGKILL, -9),
        (signal.SIGTERM, 143),
        (signal.SIGINT, 130),
        (signal.SIGUSR1, 138),
        (signal.SIGUSR2, 140),
    ],
    ids=["KILL", "TERM", "INT", "USR1", "USR2"],
)
def test_a_stopped_process_has_its_exit_code_and_resumes_exactly(
    trained, world_overrides, tmp_path, number, code
) -> None:
    run = tmp_path / "run"
    arguments = [*world_overrides, *SMALL, f"hydra.run.dir={run}", f"paths.runs={tmp_path}", "resume=auto"]
    command = [sys.executable, "-m", "opsnet.train", *arguments]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[2],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in a shell's background processes
    )  # fmt: skip
    try:
        until = time.monotonic() + 300
        while not (run / "checkpoints" / "last.ckpt").is_file():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(timeout=60) == code
    finally:
        process.kill()
        process.wait()
    assert not (run / "results.json").exists()
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True, timeout=300)
    assert json.loads((run / "results.json").read_text())["metrics"] == trained.metrics
    assert logged_values(run) == logged_values(trained.folder)
