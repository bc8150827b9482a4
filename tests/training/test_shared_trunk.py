"""Small trainings on a shared trunk, with the precision, clipping and optimizer of each experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from opsnet.clip.loading import custom_clip
from opsnet.diagnosis.checklist import Checklist
from opsnet.diagnosis.run import prepare, rehearse
from opsnet.evaluation.run import evaluate
from opsnet.training.run import train

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
CONVNEXT = {"timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "mlp", "image_size": 64}
RESNET = {"layers": [1, 1, 1, 1], "width": 8, "image_size": 64}
CLIPS: dict[str, Any] = {
    "convnext_l": {"embed_dim": 48, "vision_cfg": CONVNEXT, "text_cfg": TEXT},
    "r50": {"embed_dim": 48, "quick_gelu": True, "vision_cfg": RESNET, "text_cfg": TEXT},
}
EXPERIMENTS = ("fcclip_convnext_l", "fcclip_r50", "opsnet_shared_convnext_l", "opsnet_shared_r50")
SMALL = (
    "data=scenes", "data.module.batch_size=16", "model.query_decoder.queries=8", "matching.points=64",
    "++model.query_decoder.layers=3", "++model.query_decoder.hidden=64", "++model.pixel_decoder.layers=1",
    "trainer.max_epochs=2", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false",
)  # fmt: skip
STEPS = 4  # two epochs of 32 images


class Watch(Callback):
    """Counts the passes of CLIP's trunk in each batch, and looks at the gradients before each step."""

    seen: dict[str, Any]

    def __init__(self) -> None:
        type(self).seen = {"training": [], "validation": [], "without": [], "frozen": [], "finite": []}

    def on_fit_start(self, trainer, module) -> None:
        visual = module.model.clip.image_encoder.visual
        ends = (
            (visual.trunk.stem, visual.trunk.stages[-1].blocks[-1].conv_dw)
            if hasattr(visual, "trunk")
            else (visual.bn1, visual.layer4)
        )
        self.passes = [0, 0]
        for i, end in enumerate(ends):
            end.register_forward_hook(lambda *_, i=i: self.count(i))

    def count(self, end: int) -> None:
        self.passes[end] += 1

    def on_train_batch_start(self, *_: Any) -> None:
        self.passes = [0, 0]

    on_validation_batch_start = on_train_batch_start

    def on_train_batch_end(self, *_: Any) -> None:
        self.seen["training"].append(tuple(self.passes))

    def on_validation_batch_end(self, *_: Any) -> None:
        self.seen["validation"].append(tuple(self.passes))

    def on_before_optimizer_step(self, trainer, module, optimizer) -> None:
        named = dict(module.model.named_parameters())
        frozen = {name for name in named if name.startswith("clip.")}
        gradients = [p.grad for p in named.values() if p.grad is not None]
        self.seen["frozen"] += [name for name in frozen if named[name].grad is not None or named[name].requires_grad]
        self.seen["without"] += [name for name, p in named.items() if name not in frozen and p.grad is None]
        self.seen["finite"].append(all(bool(g.isfinite().all()) for g in gradients))

    def on_train_end(self, trainer, module) -> None:
        self.seen |= {"precision": trainer.precision, "clipping": trainer.gradient_clip_val}
        self.seen["clip"] = {k: v.clone() for k, v in module.model.clip.image_encoder.visual.state_dict().items()}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights of both CLIPs."""
    folder = tmp_path_factory.mktemp("clips")
    for name, config in CLIPS.items():
        torch.manual_seed(0)
        torch.save(custom_clip(config=config).state_dict(), folder / f"{name}.pt")
    return folder


@pytest.fixture
def small(compose, world_overrides, clips: Path, tmp_path: Path):
    """(experiment, overrides) -> its configuration with the small CLIP, in a folder of the test."""

    def config(experiment: str, *overrides: str) -> Any:
        cfg = compose("train", f"experiment={experiment}", *world_overrides, *SMALL, *overrides,
                      f"output={tmp_path / experiment}", f"paths.runs={tmp_path}")  # fmt: skip
        name = "r50" if experiment.endswith("r50") else "convnext_l"
        cfg.clip.model.weights = str(clips / f"{name}.pt")
        cfg.clip.model.architecture = {
            "_target_": "opsnet.clip.loading.custom_clip", "_partial_": True, "config": CLIPS[name],
        }  # fmt: skip
        return cfg

    return config


def saved(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_training_runs_the_trunk_once_per_batch_and_its_checkpoint_is_evaluated(
    experiment: str, small, compose, world_overrides, clips: Path, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("opsnet.training.callbacks.LogImages", Watch)
    cfg = small(experiment)
    metrics = train(cfg)
    assert 0 <= metrics["val/PQ"] <= 100
    seen = Watch.seen
    assert (seen["precision"], seen["clipping"]) == ("bf16-mixed", 0.01)
    assert seen["training"] == STEPS * [(1, 1)]
    assert set(seen["validation"]) == {(1, 1)}
    assert seen["finite"] == STEPS * [True]
    assert (seen["frozen"], seen["without"]) == ([], [])
    before: dict[str, Tensor] = torch.load(cfg.clip.model.weights)
    assert all(torch.equal(value, before[f"visual.{name}"]) for name, value in seen["clip"].items())
    content = saved(tmp_path / experiment)
    assert content["global_step"] == STEPS
    assert not [name for name in content["state_dict"] if name.startswith(("model.clip.", "model.backbone."))]
    assert ("model.log_logit_scale" in content["state_dict"]) == experiment.startswith("fcclip")
    tested = compose("evaluate", f"experiment={experiment}", "data=scenes", *world_overrides, "panels=0", "device=cpu",
                     f"checkpoint={tmp_path / experiment / 'checkpoints' / 'last.ckpt'}",
                     f"output={tmp_path / 'tested'}")  # fmt: skip
    found = evaluate(tested).metrics
    setting = "geometric_ensemble/fcclip" if experiment.startswith("fcclip") else "full/cls_iou"
    assert set(tested.settings) == {setting}
    assert 0 <= found[f"scenes/{setting}/PQ"] <= 100


class StopAfterAnEpoch(Callback):
    def on_train_epoch_start(self, trainer, module) -> None:
        if trainer.current_epoch == 1:
            raise RuntimeError("stopped by the test")


@pytest.mark.parametrize("experiment", ["fcclip_convnext_l", "opsnet_shared_r50"])
def test_an_interrupted_training_resumes_to_the_same_weights(experiment: str, small, monkeypatch, tmp_path) -> None:
    train(small(experiment, "trainer.deterministic=warn"))
    whole = saved(tmp_path / experiment)
    (tmp_path / experiment).rename(tmp_path / "whole")
    cfg = small(experiment, "trainer.deterministic=warn")
    with monkeypatch.context() as patch:
        patch.setattr("opsnet.training.callbacks.LogImages", StopAfterAnEpoch)
        with pytest.raises(RuntimeError, match="stopped by the test"):
            train(cfg)
    assert saved(tmp_path / experiment)["global_step"] == STEPS // 2
    cfg.resume = str(tmp_path / experiment / "checkpoints" / "last.ckpt")
    train(cfg)
    resumed = saved(tmp_path / experiment)
    assert resumed["global_step"] == STEPS
    assert all(torch.equal(value, whole["state_dict"][name]) for name, value in resumed["state_dict"].items())


@pytest.mark.parametrize("experiment", ["fcclip_convnext_l", "opsnet_shared_r50"])
def test_the_rehearsal_plans_it(experiment: str, small, tmp_path: Path, capfd) -> None:
    cfg = small(experiment)
    assert rehearse(cfg, tmp_path / experiment) == 0
    said = capfd.readouterr().out
    assert "backbone weights: none: it is CLIP's frozen trunk, levels 1, 2, 3, 4" in said
    assert f"steps                            {STEPS} " in said
    assert "peak memory " in said
    assert "parameters: backbone" not in said
    assert ("parameters: logit scale" in said) == experiment.startswith("fcclip")
    assert "receive no gradient" not in said


def test_the_rehearsal_names_random_weights(small, tmp_path: Path) -> None:
    cfg, checklist = small("opsnet_shared_convnext_l"), Checklist()
    cfg.clip.model.weights = "random"
    prepare(cfg, tmp_path / "run", checklist)
    assert [result.check for result in checklist.of("warning") if "random" in result.sentence] == ["CLIP weights"]
    assert not checklist.of("failure")
