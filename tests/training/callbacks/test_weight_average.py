"""The moving average of the weights: what it is, that validations and inference use it, that it resumes exactly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from opsnet.checkpoint.loading import load_checkpoint
from opsnet.checkpoint.reading import inference_weights, read_checkpoint
from opsnet.training.run import train
from opsnet.utils.errors import CheckpointError

OPTIONS = ("ema=0.4", "data.module.batch_size=16", "data.module.device_batch_size=8")  # four steps of two batches
HEAD = "model.no_object_embed"


class Recorder(Callback):
    """Copies of the weights before the training, after each step, and in each validation."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []
        self.validated: list[torch.Tensor] = []

    def on_train_start(self, trainer, module) -> None:
        self.copy(module)

    def on_train_batch_end(self, trainer, module, *rest) -> None:
        if trainer.global_step == len(self.steps):
            self.copy(module)

    def on_validation_batch_end(self, trainer, module, *rest) -> None:
        self.validated.append(module.state_dict()[HEAD].clone())

    def copy(self, module) -> None:
        self.steps.append({k: v.clone() for k, v in module.state_dict().items() if not k.startswith("model.clip.")})


@dataclass(frozen=True)
class Averaged:
    folder: Path
    metrics: dict[str, float]
    recorder: Recorder

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def averaged(train_config, tmp_path_factory) -> Averaged:
    folder, recorder = tmp_path_factory.mktemp("averaged") / "run", Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("opsnet.training.callbacks.LogImages", lambda: recorder)
        return Averaged(folder, train(train_config(folder, *OPTIONS)), recorder)


def by_hand(steps: list[dict[str, torch.Tensor]], name: str) -> torch.Tensor:
    average = steps[0][name].double()
    for step, weights in enumerate(steps[1:], start=1):
        decay = min(0.4, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weights[name].double()
    return average


def test_the_average_is_the_one_computed_by_hand_over_steps(averaged) -> None:
    content = read_checkpoint(averaged.checkpoint)
    average, steps = content["ema"]["weights"], averaged.recorder.steps
    assert (content["ema"]["decay"], content["ema"]["step"], len(steps)) == (0.4, 4, 5)
    floating = {k for k, v in content["state_dict"].items() if v.is_floating_point()}
    assert average.keys() == floating
    assert [name for name in average if name.endswith("running_mean")]
    for name, value in average.items():
        torch.testing.assert_close(value.double(), by_hand(steps, name), rtol=1e-4, atol=1e-6)
        assert torch.equal(content["state_dict"][name], steps[-1][name])  # the training continues with the weights
    assert not torch.equal(average[HEAD], steps[-1][HEAD])


def test_validations_see_the_average(averaged) -> None:
    first, last = averaged.recorder.validated
    steps = averaged.recorder.steps
    torch.testing.assert_close(first.double(), by_hand(steps[:3], HEAD), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(last.double(), by_hand(steps, HEAD), rtol=1e-5, atol=1e-6)


def test_inference_uses_the_average_unless_told_otherwise(averaged) -> None:
    content = read_checkpoint(averaged.checkpoint)
    used = load_checkpoint(averaged.checkpoint, device="cpu").model.no_object_embed
    raw = load_checkpoint(averaged.checkpoint, device="cpu", ema=False).model.no_object_embed
    assert torch.equal(used, content["ema"]["weights"][HEAD])
    assert torch.equal(raw, content["state_dict"][HEAD])


def test_a_training_without_it_stores_none(trained) -> None:
    content = read_checkpoint(trained.checkpoint)
    assert "ema" not in content
    assert inference_weights(content, "it") is content["state_dict"]


@pytest.mark.parametrize(
    ("average", "message"),
    [
        (3, "its moving average is damaged"),
        ({"weights": {"other": torch.zeros(1)}}, "its moving average is damaged"),
        ({"weights": {"a": torch.tensor([float("nan")])}}, r"\(ema\): a contains NaN"),
        ({"weights": {"a": "code"}}, r"\(ema\): a is a str"),
    ],
)
def test_a_damaged_average_is_refused(average, message) -> None:
    with pytest.raises(CheckpointError, match=message):
        inference_weights({"state_dict": {"a": torch.zeros(1)}, "ema": average}, "checkpoint x.ckpt")


STOPS = [
    "on_validation_batch_end",  # the average is in the network
    pytest.param("on_train_batch_end", marks=pytest.mark.slow),
    pytest.param("on_before_optimizer_step", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("hook", STOPS)
def test_an_interrupted_training_has_the_same_average(hook, averaged, train_config, tmp_path, monkeypatch) -> None:
    def stop(self, trainer, *rest) -> None:
        if trainer.global_step >= 2:
            raise RuntimeError("stopped by the test")

    config = train_config(tmp_path / "run", *OPTIONS)
    with monkeypatch.context() as patch:
        patch.setattr("opsnet.training.callbacks.LogImages", type("Stop", (Callback,), {hook: stop}))
        with pytest.raises(RuntimeError, match="stopped"):
            train(config)
    config.resume = "auto"
    assert train(config) == averaged.metrics
    ours, theirs = (read_checkpoint(p) for p in (tmp_path / "run" / "checkpoints" / "last.ckpt", averaged.checkpoint))
    assert ours["ema"]["step"] == theirs["ema"]["step"]
    for key in theirs["state_dict"]:
        assert torch.equal(ours["state_dict"][key], theirs["state_dict"][key])
    for key, value in theirs["ema"]["weights"].items():
        assert torch.equal(ours["ema"]["weights"][key], value)
