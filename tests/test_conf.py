"""Every file of conf/ composes and builds what it describes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra.errors import ConfigCompositionException, MissingConfigException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from opsnet.losses.building import build_losses
from opsnet.losses.matching import HungarianMatcher
from opsnet.structures import ImageLabels
from opsnet.utils.configuration import config_dir

CONF = config_dir()
COMMANDS = sorted(p.stem for p in CONF.glob("*.yaml"))
GROUPS = sorted((p.parent.name, p.stem) for p in CONF.glob("*/*.yaml"))
SLOW = {("backbone", "swin_l"), ("clip", "rn50x16"), ("clip", "rn50x64")}
# How a group is built on its own; the others are tested by name below.
OFFLINE = {
    "backbone": ["++backbone.pretrained=false"],
    "clip": ["clip.model.weights=random"],
    "trainer": ["trainer.accelerator=cpu", "trainer.devices=1", "++trainer.precision=32", "+trainer.logger=false"],
}


def options(*groups: str) -> list:
    marks = {pair: [pytest.mark.slow] if pair in SLOW else [] for pair in GROUPS}
    return [pytest.param(g, o, marks=marks[g, o], id=f"{g}={o}") for g, o in GROUPS if g in groups]


def test_every_file_is_tested_here() -> None:
    tested = {"backbone", "clip", "data", "experiment", "filtering", "logger", "model", "modulation", "optim", "paths"}
    others = {
        "image_labels",
        "launcher",
        "losses",
        "trainer",
        "sweep",
        "world",
        "world_backbone",
    }  # tests/test_worlds.py
    data = {"tables"}  # tests/paper/test_paper_rows.py
    assert {group for group, _ in GROUPS} == tested | others | data
    assert COMMANDS == ["demo", "doctor", "evaluate", "export", "predict", "train", "train_clip"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_composes_and_resolves(name, compose, tmp_path) -> None:
    missing = {
        "predict": ["checkpoint=a", "image=b", "vocabulary=c"],
        "evaluate": ["checkpoint=a"],
        "export": ["checkpoint=a"],
        "doctor": ["vocabulary=c", "data=coco"],
    }.get(name, [])
    cfg = compose(name, *missing, f"output={tmp_path}")
    assert OmegaConf.missing_keys(cfg) == set()
    OmegaConf.resolve(cfg)


@pytest.mark.parametrize(("group", "option"), options("backbone", "clip", "filtering", "modulation", "trainer"))
def test_every_part_is_built(group, option, compose, tmp_path) -> None:
    extra = ["clip.model.architecture.pretrained=null"] if group == "clip" and option != "tiny" else []
    strategy = ["trainer.strategy=auto"] if (group, option) == ("trainer", "ddp") else []
    offline = [] if (group, option) == ("backbone", "clip") else OFFLINE.get(group, [])  # it has no weights
    cfg = compose("train", f"{group}={option}", f"output={tmp_path}", *offline, *extra, *strategy)
    OmegaConf.resolve(cfg)
    part = instantiate(cfg[group])
    assert f"{type(part).__module__}.{type(part).__name__}" == cfg[group]._target_.replace(
        "lightning.Trainer", "lightning.pytorch.trainer.trainer.Trainer"
    )
    if group == "backbone" and option != "clip":
        assert len(part.channels) == 4
        sizes = [tuple(m.shape[1:]) for m in part(torch.rand(1, 3, 64, 64))]
        assert sizes == [(c, 64 // s, 64 // s) for c, s in zip(part.channels, part.strides, strict=True)]
    if group == "clip":
        images = torch.rand(1, 3, 64, 64)
        clip_map = part.image_encoder(images)
        assert clip_map.shape[1] == part.image_encoder.map_dim
        pooled = part.image_encoder.pool(clip_map, torch.ones(1, 2, 64, 64), (64, 64))
        assert pooled.shape == (1, 2, part.embed_dim)
        assert not any(p.requires_grad for p in part.parameters())


@pytest.mark.parametrize("world", ["real", "scenes"])
def test_the_shared_backbone_has_the_levels_of_its_world(world, compose, tmp_path) -> None:
    small = ["clip=tiny", "clip.model.weights=random", "model=scenes"]
    cfg = compose("train", f"world={world}", "backbone=clip", *small, f"output={tmp_path}")
    backbone = instantiate(cfg.model, backbone=cfg.backbone, clip=cfg.clip).backbone
    strides = [96 // m.shape[-1] for m in backbone(torch.rand(1, 3, 96, 96))]
    assert strides == ([4, 8, 8, 8] if world == "real" else [2, 4, 8, 8])  # the tiny CLIP's fourth stage is empty
    assert not list(backbone.parameters())


@pytest.mark.parametrize(
    ("option", "given", "repeats"), [("default", [], False), ("ddp", [], False), ("scenes", [], True),
                                     ("default", ["trainer.deterministic=warn"], True)],
)  # fmt: skip
def test_the_miniature_alone_asks_for_algorithms_that_repeat(option, given, repeats, compose, tmp_path) -> None:
    one_cpu = ["trainer.accelerator=cpu", "trainer.devices=1", "++trainer.strategy=auto", "+trainer.logger=false"]
    before = torch.are_deterministic_algorithms_enabled()
    try:
        instantiate(compose("train", f"trainer={option}", f"output={tmp_path}", *one_cpu, *given).trainer)
        assert torch.are_deterministic_algorithms_enabled() is repeats
        assert torch.is_deterministic_algorithms_warn_only_enabled() is repeats
    finally:
        torch.use_deterministic_algorithms(before, warn_only=True)


WEIGHTS = {  # of every loss that is not left out
    "mask2former": {"cross_entropy": 2, "mask_bce": 5, "dice": 5, "iou": 4},
    "scenes": {"cross_entropy": 2, "mask_bce": 5, "dice": 5, "iou": 40},
}
OF_LABELS = {"none": (), "cls": ("image_label_matching",), "cls_masksum": ("image_label_matching", "mask_sum")}


@pytest.mark.parametrize(("group", "option"), options("losses"))
@pytest.mark.parametrize("image_labels", [option for group, option in GROUPS if group == "image_labels"])
def test_every_choice_of_losses_is_built(group, option, image_labels, compose, tmp_path) -> None:
    cfg = compose("train", f"losses={option}", f"image_labels={image_labels}", f"output={tmp_path}")
    losses = build_losses(cfg.losses, torch.nn.Identity())
    of_labels = {"image_label_matching": 4 if option == "scenes" else 1, "mask_sum": 0.4}
    expected = WEIGHTS[option] | {name: of_labels[name] for name in OF_LABELS[image_labels]}
    assert {name: loss.weight for name, loss in losses.by_name.items()} == expected
    assert tuple(losses.of(ImageLabels)) == OF_LABELS[image_labels]
    matcher = instantiate(cfg.matching)
    assert matcher == HungarianMatcher(points=384 if option == "scenes" else 12544)
    assert losses.by_name["cross_entropy"].normalization == ("global" if option == "scenes" else "rank")


@pytest.mark.parametrize("name", ["opsnet_plus_r50", "scenes_plus"])
def test_fine_tuning_drops_its_rate_where_the_paper_does(name, compose, tmp_path) -> None:
    cfg = compose("train", f"experiment={name}", f"output={tmp_path}", "init_from=a.ckpt")
    steps = cfg.trainer.max_steps
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = instantiate(cfg.optim.scheduler)(optimizer, total_steps=steps)
    factor, drop = scheduler.lr_lambdas[0], steps * 5 // 8
    assert factor(drop - 1) == 1
    assert factor(drop) == factor(steps - 1) == pytest.approx(0.1)
    if name == "opsnet_plus_r50":
        assert (steps, drop, instantiate(cfg.optim.optimizer)(torch.nn.Linear(1, 1)).defaults["lr"]) == (
            80_000, 50_000, 1e-4,
        )  # fmt: skip
        assert (cfg.data.module.batch_size, cfg.data.module.label_batch_size) == (8, 8)


def test_the_control_differs_from_opsnet_plus_in_the_labels_alone(compose, tmp_path) -> None:
    plus, control = (
        OmegaConf.to_container(compose("train", f"experiment={n}", f"output={tmp_path}", "init_from=a"), resolve=True)
        for n in ("scenes_plus", "scenes_plus_control")
    )
    for name in ("image_label_matching", "mask_sum"):
        del plus["losses"][name]
    for cfg, target in (
        (plus, "opsnet.data.mixed.MixedDataModule"),
        (control, "opsnet.data.datamodule.PanopticDataModule"),
    ):
        assert cfg["data"]["module"].pop("_target_") == target
        cfg.pop("experiment_name")
        for key in ("labels", "label_batch_size"):
            cfg["data"]["module"].pop(key, None)
    assert plus == control


@pytest.mark.parametrize(("group", "option"), options("model"))
def test_every_model_is_built_around_the_tiny_clip(group, option, compose, tmp_path) -> None:
    cfg = compose("train", f"model={option}", "backbone=scenes", "clip.model.weights=random", f"output={tmp_path}")
    model = instantiate(cfg.model, backbone=cfg.backbone, clip=cfg.clip).eval()
    with torch.no_grad():
        proposals, _ = model(torch.rand(1, 3, 64, 64))
    queries = cfg.model.query_decoder.get("queries", 100)
    assert proposals.iou.shape == (1, queries)
    assert proposals.query_embeds.shape == (1, queries, model.clip.embed_dim)


@pytest.mark.parametrize(("group", "option"), options("optim"))
def test_every_optimizer_steps(group, option, compose, tmp_path) -> None:
    cfg = compose("train", f"optim={option}", f"output={tmp_path}")
    model = torch.nn.Linear(2, 2)
    optimizer = instantiate(cfg.optim.optimizer)(model)
    scheduler = instantiate(cfg.optim.scheduler)(optimizer, total_steps=10)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    scheduler.step()
    assert all(group["lr"] > 0 for group in optimizer.param_groups)


@pytest.mark.parametrize(("group", "option"), options("data"))
def test_every_data_module_is_built_without_touching_the_disk(group, option, compose, tmp_path) -> None:
    cfg = compose("train", f"data={option}", f"output={tmp_path}", f"paths.data={tmp_path / 'data'}")
    module = instantiate(cfg.data.module, _convert_="object")
    assert module.test_names or option in ("imagenet", "imagenet21k")  # whose labels teach, but score nothing
    assert not (tmp_path / "data").exists()


def test_the_embedded_world_is_read(compose, world_overrides, tmp_path) -> None:
    cfg = compose("train", *world_overrides, f"output={tmp_path}", "data.module.batch_size=4")
    module = instantiate(cfg.data.module, _convert_="object")
    module.setup()
    assert {k: len(d) for k, d in module.datasets.items()} == {
        "train": 32, "val": 8, "test/scenes": 8, "test/scenes_novel": 8, "test/scenes_street": 8,
    }  # fmt: skip
    assert next(iter(module.train_dataloader())).images.shape == (4, 3, 96, 96)


def test_wandb_stays_offline_and_beside_the_run(compose, tmp_path) -> None:
    cfg = compose("train", "logger=wandb", f"output={tmp_path}", "experiment_name=mine")
    assert cfg.logger.wandb.offline is True
    assert cfg.logger.wandb.save_dir == str(tmp_path)
    assert cfg.logger.wandb.name == "mine"


def test_the_command_line_has_the_last_word(compose, tmp_path) -> None:
    cfg = compose("train", "experiment=scenes", "experiment_name=other", "seed=7", f"output={tmp_path}")
    assert (cfg.experiment_name, cfg.seed, cfg.data.module.seed) == ("other", 7, 7)
    assert cfg.data.root.endswith("scenes_7")


def test_the_folders_follow_the_environment(compose, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("OPSNET_DATA", "/somewhere")
    monkeypatch.setenv("OPSNET_RUNS", "/else")
    cfg = compose("train", f"output={tmp_path}")
    assert (cfg.paths.data, cfg.paths.runs) == ("/somewhere", "/else")
    assert Path(cfg.clip.model.weights) == Path("/somewhere/clip/tiny.pt")


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_key_is_named(name, compose) -> None:
    with pytest.raises(ConfigCompositionException, match="no_such_key"):
        compose(name, "no_such_key=1")


@pytest.mark.parametrize("group", ["backbone", "data", "experiment", "logger"])
def test_an_unknown_option_is_named_with_those_there_are(group, compose) -> None:
    with pytest.raises(MissingConfigException, match=rf"(?s){group}/no_such.*Available options.*"):
        compose("train", f"{group}=no_such")


@pytest.mark.parametrize(
    ("backbone", "weights", "drop_path"),
    [
        ("r50", "resnet50.tv_in1k", None),
        ("r101", "resnet101.tv_in1k", None),
        ("swin_s", "swin_small_patch4_window7_224.ms_in1k", 0.3),
        ("swin_l", "swin_large_patch4_window12_384.ms_in22k", 0.3),
    ],
)
def test_backbones_start_from_the_weights_of_mask2former(compose, backbone, weights, drop_path) -> None:
    import timm

    cfg = compose("train", "world=real", f"backbone={backbone}", "output=nowhere").backbone
    assert cfg.pretrained
    assert cfg.name == weights
    assert cfg.get("model_args", {}).get("drop_path_rate") == drop_path
    assert timm.get_pretrained_cfg(weights).tag == weights.split(".")[1]  # timm has weights of this name
