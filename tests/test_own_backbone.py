"""A backbone of one's own: a yaml for another timm model, or a class outside the package, and nothing else."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from small_training import SMALL
from torch import Tensor, nn

import opsnet
from opsnet.commands import evaluate, train
from opsnet.utils.errors import CheckpointError

NAME = "test_own_backbone.Strided"


class Strided(nn.Module):
    """Four maps of strides 2 to 16, a convolution each.

    Args:
        width: channels of the finest; each further map has twice as many.
    """

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.channels = tuple(width * 2**i for i in range(4))
        pairs = zip((3, *self.channels), self.channels, strict=False)
        self.stages = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)

    def forward(self, images: Tensor, inside: Tensor | None = None) -> list[Tensor]:
        x = images if inside is None else images * inside
        maps = []
        for stage in self.stages:
            x = stage(x).relu()
            maps.append(x)
        return maps


def addition(root: Path) -> None:
    """Writes into a folder for --config-dir what adds another model of timm: its yaml."""
    (root / "backbone").mkdir(parents=True)
    (root / "backbone" / "mobile.yaml").write_text(
        "_target_: opsnet.segmenter.backbone.Backbone\n"
        "name: mobilenetv3_small_050\n"
        "out_indices: [0, 1, 2, 3] # strides 2 to 16, as conf/model/scenes.yaml expects them\n"
    )


def class_addition(root: Path) -> None:
    """The same for a class of one's own."""
    (root / "backbone").mkdir(parents=True, exist_ok=True)
    (root / "backbone" / "strided.yaml").write_text(f"_target_: {NAME}\nwidth: 8\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    """--config-dir of a folder with two backbones."""
    root = tmp_path_factory.mktemp("own") / "conf"
    addition(root)
    class_addition(root)
    return f"--config-dir={root}"


@pytest.fixture
def checkpoint(folder, command, world_overrides, tmp_path):
    """Name of a backbone -> the checkpoint of four steps with it."""

    def train_with(backbone: str) -> Path:
        run = tmp_path / backbone
        given = [folder, *world_overrides, *SMALL, "trainer.max_epochs=1", f"hydra.run.dir={run}"]
        code, error = command(train.main, *given, "experiment=scenes", f"backbone={backbone}")
        assert code == 0, error
        metrics = json.loads((run / "results.json").read_text())["metrics"]
        assert math.isfinite(metrics["train/loss"])
        return run / "checkpoints" / "last.ckpt"

    return train_with


def test_another_model_of_timm_is_trained_and_evaluated(checkpoint, command, world_overrides, tmp_path) -> None:
    path = checkpoint("mobile")
    predictor = opsnet.load(path, device="cpu")
    backbone = predictor.trained.model.backbone
    assert backbone.strides == (2, 4, 8, 16)
    assert type(backbone.model).__name__.startswith("MobileNetV3")
    given = [f"checkpoint={path}", "settings=[full/cls_iou]", "show=false", "device=cpu"]
    run = tmp_path / "evaluated"
    code, error = command(evaluate.main, *world_overrides, *given, f"hydra.run.dir={run}")
    assert code == 0, error
    assert "scenes_novel/full/cls_iou/PQ" in json.loads((run / "results.json").read_text())["metrics"]


def test_a_class_is_trained_and_loaded_where_it_is_trusted(checkpoint, monkeypatch, sample_images) -> None:
    path = checkpoint("strided")
    with pytest.raises(CheckpointError, match=f"backbone._target_ = '{NAME}'.*OPSNET_TRUSTED_CLASSES"):
        opsnet.load(path, device="cpu")
    monkeypatch.setenv("OPSNET_TRUSTED_CLASSES", NAME)
    predictor = opsnet.load(path, device="cpu")
    state = torch.load(path, weights_only=True)["state_dict"]
    for name, weight in predictor.trained.model.backbone.state_dict().items():
        assert torch.equal(weight, state[f"model.backbone.{name}"])
    (named,) = predictor([sample_images[0]], "red circle, grass")
    assert named.ids.shape == sample_images[0].shape[:2]


def test_a_model_that_timm_does_not_have_is_one_sentence(folder, command, world_overrides, tmp_path) -> None:
    code, error = command(
        train.main, folder, *world_overrides, *SMALL, "backbone=mobile", "backbone.name=mobilenetv9",
        f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert code == 2
    assert "timm has no model 'mobilenetv9' (backbone.name)" in error.splitlines()[-1]
