"""Steps, images and learning rate of a training: equal for all trainers, with a warning if they do not match."""

from __future__ import annotations

import lightning as L
import pytest
from hydra.utils import instantiate

from opsnet.training.recipe import StepPlan, plan_steps
from opsnet.training.run import build_trainer

COCO = ["data=coco", "backbone=r50", "clip=rn50", "model=mask2former", "losses=mask2former", "optim=mask2former"]
IMAGES = 118_287  # images of COCO's training set


def plan(compose, folder, *overrides: str) -> tuple[StepPlan, L.Trainer]:
    cfg = compose("train", *overrides, "trainer.accelerator=cpu", f"output={folder}")
    data = instantiate(cfg.data.module, _convert_="object")
    data.datasets["train"] = range(IMAGES)
    trainer = build_trainer(cfg, folder)
    return plan_steps(cfg, trainer, data), trainer


@pytest.mark.parametrize(
    ("trainer", "batches"),
    [(["trainer=default"], 8), (["trainer=ddp", "trainer.devices=2"], 4), (["trainer=ddp", "trainer.devices=8"], 1),
     (["trainer=ddp", "trainer.devices=4", "+trainer.num_nodes=4"], 1),
     (["trainer=ddp", "trainer.devices=4", "trainer.accumulate_grad_batches=4"], 4)],
)  # fmt: skip
def test_mask2formers_training_is_the_same_on_any_number_of_devices(trainer, batches, compose, tmp_path) -> None:
    found, built = plan(compose, tmp_path, *COCO, *trainer)
    assert (found.images, found.steps, found.lr, found.accumulate) == (16, 50 * (IMAGES // 16), 1e-4, batches)
    assert built.accumulate_grad_batches == batches
    assert found.warning() is None


@pytest.mark.parametrize("trainer", [[], ["trainer=ddp", "trainer.devices=2"], ["trainer=ddp", "trainer.devices=8"]])
@pytest.mark.parametrize("row", ["opsnet_plus_r50", "opsnet_plus_swin_l"])
def test_opsnet_plus_keeps_its_steps_and_its_images_under_any_trainer(row, trainer, compose, tmp_path) -> None:
    found, built = plan(compose, tmp_path, f"experiment={row}", "init_from=a", *trainer)
    assert (found.steps, found.totals) == (80_000, {"batch_size": 8, "label_batch_size": 8})
    assert built.max_steps == 80_000
    assert found.warning() is None
    assert found.sentence().startswith("80,000 steps of 8 + 8 images (")


def test_the_sentence_states_how_a_step_is_divided(compose, tmp_path) -> None:
    found, _ = plan(compose, tmp_path, "experiment=opsnet_plus_r50", "init_from=a", "trainer=ddp", "trainer.devices=2")
    assert found.sentence() == (
        "80,000 steps of 8 + 8 images (2 devices x 2 + 2 x 2 accumulated batches), learning rate 0.0001"
    )


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (["data.module.batch_size=2"], ["2 images per step at learning rate 0.0001", "16 at 0.0001",
                                        "optim.optimizer.lr=1.25e-05", "data.module.batch_size=16"]),
        (["optim.optimizer.lr=1e-3"], ["16 images per step at learning rate 0.001", "optim.optimizer.lr=0.0001"]),
        (["data.module.batch_size=64", "optim.optimizer.lr=2e-4"], None),  # the square root of the ratio
        (["data.module.batch_size=64", "optim.optimizer.lr=4e-4"], None),
        (["data.module.batch_size=2", "optim.reference=null"], None),
    ],
)  # fmt: skip
def test_a_warning_if_batch_size_and_learning_rate_do_not_match(given, parts, compose, tmp_path) -> None:
    warning = plan(compose, tmp_path, *COCO, "trainer=default", *given)[0].warning()
    assert (warning is None) is (parts is None)
    assert all(part in (warning or "") for part in parts or ())
    assert "or data.module" not in (warning or "") or "batch_size=2" in given[0]


def test_the_miniature_has_no_reference(compose, tmp_path) -> None:
    found, _ = plan(compose, tmp_path, "data.module.batch_size=1")
    assert found.warning() is None
    assert found.steps == 20 * IMAGES


def test_shorter_epochs_and_trainings_are_counted(compose, tmp_path) -> None:
    for given, steps in (("+trainer.limit_train_batches=24", 3), ("trainer.max_steps=2", 2)):
        assert plan(compose, tmp_path, *COCO, "trainer=default", "trainer.max_epochs=1", given)[0].steps == steps
