"""Gradients that are not finite: the training stops before they reach the weights, or leaves the step out."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from opsnet.structures import Batch
from opsnet.training.callbacks.nonfinite import SAVED_BATCHES, NonFiniteError, NonFiniteGradients
from opsnet.training.run import train
from opsnet.utils.errors import InputError


def poison(steps: set[int], what: str) -> type[Callback]:
    """A callback that makes the loss or one gradient of the given steps NaN."""

    class Poison(Callback):
        def on_train_batch_start(self, trainer, module, batch, index) -> None:
            if what == "image" and trainer.global_step in steps:
                batch.images[0, 0, 0, 0] = float("nan")
            if what == "weight" and trainer.global_step in steps:
                next(p for p in module.parameters() if p.requires_grad).data.fill_(float("nan"))

        def on_before_backward(self, trainer, module, loss) -> None:
            if what == "loss" and trainer.global_step in steps:
                loss.data.fill_(float("nan"))
                # The loss alone does not reach the gradients, as it would if it came out of the network.
                self.on_after_backward = lambda trainer, module: next(
                    p for p in module.parameters() if p.grad is not None
                ).grad.fill_(float("nan"))

        def on_after_backward(self, trainer, module) -> None:
            if what == "gradient" and trainer.global_step in steps:
                next(p for p in module.parameters() if p.grad is not None).grad.view(-1)[0] = float("inf")

    return Poison


@pytest.fixture
def poisoned(monkeypatch):
    def use(steps: set[int], what: str = "gradient") -> None:
        monkeypatch.setattr("opsnet.training.callbacks.LogImages", poison(steps, what))

    return use


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_the_training_stops_with_a_sentence_and_a_good_checkpoint(train_config, tmp_path, poisoned) -> None:
    poisoned({3})
    with pytest.raises(NonFiniteError, match=r"step 3: the loss is finite, but its gradients are not finite") as caught:
        train(train_config(tmp_path / "run"))
    assert "learning rate " in str(caught.value)
    assert "on_nonfinite=skip" in str(caught.value)
    kept = json.loads((tmp_path / "run" / "nonfinite" / "step_3.json").read_text())
    assert kept["step"] == 3
    assert len(kept["image_ids"][0]) == 8
    assert all(i in str(caught.value) for i in kept["image_ids"][0])
    assert all(math.isfinite(loss) for loss in kept["losses"])
    assert f"{tmp_path / 'run' / 'nonfinite' / 'step_3'} has the step and its last batch" in str(caught.value)
    assert kept["parts"].keys() == {"cross_entropy", "mask_bce", "dice", "iou"}
    assert f"dice {kept['parts']['dice']:.4g}" in str(caught.value)
    batch = torch.load(tmp_path / "run" / "nonfinite" / "step_3.pt", weights_only=True)
    assert batch["image_ids"] == [int(i) for i in kept["image_ids"][0]]
    assert batch["images"].shape[:2] == (8, 3)
    assert len(batch["targets"]["masks"]) == 8
    assert all(bool(v.isfinite().all()) for v in weights(tmp_path / "run").values())


def test_the_run_continues_exactly_once_the_cause_is_gone(train_config, tmp_path, poisoned, trained) -> None:
    poisoned({3})
    with pytest.raises(NonFiniteError):
        train(train_config(tmp_path / "run"))
    poisoned(set())
    assert train(train_config(tmp_path / "run", "resume=auto")) == trained.metrics


def test_a_loss_that_is_not_finite_names_the_images_of_its_batch(train_config, tmp_path, poisoned) -> None:
    poisoned({2}, "loss")
    with pytest.raises(NonFiniteError, match=r"step 2: the loss is not finite \(losses .*gradient norm nan") as caught:
        train(train_config(tmp_path / "run"))
    kept = json.loads((tmp_path / "run" / "nonfinite" / "step_2.json").read_text())
    assert kept["losses"] == [None]
    assert "images " + ", ".join(kept["image_ids"][0]) in str(caught.value)


def test_steps_are_skipped_up_to_the_limit(train_config, tmp_path, poisoned, caplog) -> None:
    poisoned({1, 3})
    metrics = train(train_config(tmp_path / "run", "on_nonfinite=skip", "nonfinite_limit=2"))
    assert all(math.isfinite(value) for value in metrics.values())
    assert all(bool(v.isfinite().all()) for v in weights(tmp_path / "run").values())
    assert "skipped (1 of at most 2)" in caplog.text
    assert "skipped (2 of at most 2)" in caplog.text
    with pytest.raises(NonFiniteError, match="1 such steps were skipped before"):
        train(train_config(tmp_path / "other", "on_nonfinite=skip", "nonfinite_limit=1"))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("image", r"step 5: of the images [\d, ]+, one contains NaN or infinity: check the files"),
        ("weight", r"step 5: weights are not finite: continue from the last checkpoint with resume=auto"),
    ],
)
def test_a_network_that_fails_on_nan_ends_in_a_sentence(train_config, tmp_path, poisoned, what, message) -> None:
    poisoned({5}, what)  # in the second epoch
    with pytest.raises(NonFiniteError, match=message):
        train(train_config(tmp_path / "run"))
    assert all(bool(v.isfinite().all()) for v in weights(tmp_path / "run").values())


@pytest.fixture
def stopping(tmp_path) -> NonFiniteGradients:
    """A callback that has seen a batch of four images with a loss of NaN."""
    callback = NonFiniteGradients(mode="stop", limit=1, folder=tmp_path)
    batch = Batch(torch.zeros(4, 3, 8, 8), [(8, 8)] * 4, [5, 6, 7, "x"], "coco")
    callback.on_train_batch_start(SimpleNamespace(accumulate_grad_batches=1), None, batch, 0)
    callback.on_before_backward(None, None, torch.tensor(float("nan")))
    return callback


def trainer_at(step: int, **precision: object) -> SimpleNamespace:
    return SimpleNamespace(global_step=step, precision_plugin=SimpleNamespace(**precision))


def infinite_optimizer() -> torch.optim.Optimizer:
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.tensor([float("inf")])
    return torch.optim.SGD([weight], lr=0.5)


def test_a_run_saves_few_batches_none_of_them_huge(stopping, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "nonfinite"
    for step in range(SAVED_BATCHES + 2):
        with pytest.raises(NonFiniteError):
            stopping.on_before_optimizer_step(trainer_at(step), None, infinite_optimizer())
    assert len(list(folder.glob("*.json"))) == SAVED_BATCHES + 2
    assert len(list(folder.glob("*.pt"))) == SAVED_BATCHES
    for path in folder.iterdir():
        path.unlink()
    monkeypatch.setattr("opsnet.training.callbacks.nonfinite.SAVED_BYTES", 4 * 3 * 8 * 8 * 4 - 1)
    with pytest.raises(NonFiniteError):
        stopping.on_before_optimizer_step(trainer_at(0), None, infinite_optimizer())
    assert [path.name for path in folder.iterdir()] == ["step_0.json"]


def test_a_full_disk_does_not_hide_the_cause(stopping, tmp_path, caplog) -> None:
    (tmp_path / "nonfinite").write_text("a file in place of the folder")
    with pytest.raises(NonFiniteError, match="step 4: the loss is not finite"):
        stopping.on_before_optimizer_step(trainer_at(4), None, infinite_optimizer())
    assert "step_4.json could not be written" in caplog.text


def test_a_gradient_scaler_may_meet_infinite_gradients_but_no_infinite_loss(stopping) -> None:
    with pytest.raises(NonFiniteError, match="the loss is not finite"):
        stopping.on_before_optimizer_step(trainer_at(1, scaler=object()), None, infinite_optimizer())
    stopping._losses = [torch.tensor(1.0)]
    stopping.on_before_optimizer_step(trainer_at(1, scaler=object()), None, infinite_optimizer())


def test_an_unknown_mode_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="on_nonfinite=ignore is not known: give stop or skip"):
        NonFiniteGradients(mode="ignore", limit=1, folder=tmp_path)
