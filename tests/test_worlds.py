"""Every experiment composes onto the real sets and onto the miniature, for training and for evaluation."""

from __future__ import annotations

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from opsnet.inference.settings import parse_setting
from opsnet.paper.rows import table_rows
from opsnet.paper.trainings import rows_of
from opsnet.paper.worlds import load_world
from opsnet.utils.configuration import config_dir


def kinds() -> dict[str, str]:
    """The first experiment of each kind: those of one kind choose the same groups and set the same keys."""
    found: dict[str, str] = {}
    for path in sorted((config_dir() / "experiment").glob("*.yaml")):
        content = OmegaConf.to_container(OmegaConf.load(path))
        found.setdefault(f"{content.get('defaults')} {sorted(content)}", path.stem)
    return found


NETWORKS_OF_THEIR_OWN = {"camvid", "finetune"}  # test_camvid.py, test_finetuning.py
NAMES = [name for name in kinds().values() if name not in NETWORKS_OF_THEIR_OWN]
CLIP = {"real": "RN50-quickgelu", "scenes": None}


def composed(compose, name: str, world: str | None, tmp_path, command: str = "train"):
    """An experiment's configuration, with everything that a user must give."""
    given = ["init_from=a"] if command == "train" else ["checkpoint=a"]
    where = [f"world={world}"] if world else []
    cfg = compose(command, f"experiment={name}", *where, *given, f"output={tmp_path}")
    OmegaConf.resolve(cfg)
    return cfg


@pytest.mark.parametrize("world", ["real", "scenes"])
@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_experiment_composes_in_both_worlds(name, world, compose, tmp_path) -> None:
    train = composed(compose, name, world, tmp_path)
    assert train.experiment_name == name
    clip = "convnext_large_d_320" if name.endswith("_convnext_l") else CLIP[world]
    assert train.clip.model.architecture.get("model_name") == clip
    tested = composed(compose, name, world, tmp_path, "evaluate")
    assert tested.experiment_name == name
    rows = rows_of(name)
    assert not rows or set(tested.settings) <= {row.setting for row in rows}
    assert {load_world(world).domain(dataset) for row in rows for dataset in row.paper} <= set(tested.data.module.test)


def test_a_row_of_the_paper_is_of_the_real_world_by_itself(compose, tmp_path) -> None:
    plain, real = (composed(compose, "opsnet_r50", world, tmp_path) for world in (None, "real"))
    assert plain == real
    assert plain.data.root.endswith("coco")
    assert (plain.backbone.name, plain.model.query_decoder.queries, plain.overlap) == ("resnet50.tv_in1k", 100, 0.8)


def test_scenes_is_the_miniature_of_the_full_model(compose, tmp_path) -> None:
    scenes, row = composed(compose, "scenes", None, tmp_path), composed(compose, "opsnet_r50", "scenes", tmp_path)
    assert scenes.experiment_name == "scenes"
    row.experiment_name = "scenes"
    assert scenes == row
    assert scenes.overlap == 0.6
    plain = compose("train", "init_from=a", f"output={tmp_path}")  # no world: the same networks and data
    assert (plain.model, plain.backbone, plain.data) == (scenes.model, scenes.backbone, scenes.data)


@pytest.mark.parametrize("world", ["real", "scenes"])
def test_the_baseline_differs_from_the_method_in_the_attention_to_clip_only(world, compose, tmp_path) -> None:
    main, baseline = (
        composed(compose, name, world, tmp_path) for name in ("opsnet_r50", "opsnet_r50_no_clip_attention")
    )
    assert baseline.model.query_decoder.clip_attention is None
    plain = []
    for cfg in (main, baseline):
        container = OmegaConf.to_container(cfg, resolve=True)
        for key in ("experiment_name", "settings"):
            del container[key]
        container["model"]["query_decoder"].pop("clip_attention", None)
        plain.append(container)
    assert plain[0] == plain[1]


def test_fcclip_has_its_own_heads_and_trains_as_the_others(compose, tmp_path) -> None:
    fcclip, ours = (composed(compose, f"{name}_r50", None, tmp_path) for name in ("fcclip", "opsnet_shared"))
    decoder = fcclip.model.query_decoder
    assert (decoder.embed_head, decoder.iou_head, decoder.clip_attention) == ("mask_pooled", False, None)
    assert (decoder.queries, fcclip.model.learn_logit_scale, fcclip.losses.iou.weight) == (250, True, 0)
    assert (fcclip.clip.pooling, fcclip.clip.templates) == ("attention", "vild14")
    convnext = composed(compose, "fcclip_convnext_l", None, tmp_path)
    assert (convnext.clip.pooling, convnext.clip.templates) == ("project_after", "vild14")
    for key in ("backbone", "optim", "trainer", "matching", "overlap", "data"):
        assert fcclip[key] == ours[key] == convnext[key]
    row = composed(compose, "opsnet_r50", None, tmp_path)
    for key in ("optim", "trainer", "matching", "overlap", "data", "model", "clip", "losses", "modulation"):
        assert row[key] == ours[key]


def test_swin_l_has_twice_the_queries_and_epochs_in_the_real_world(compose, tmp_path) -> None:
    real = composed(compose, "opsnet_swin_l", "real", tmp_path)
    assert (real.model.query_decoder.queries, real.trainer.max_epochs) == (200, 100)
    assert composed(compose, "opsnet_swin_s", "real", tmp_path).trainer.max_epochs == 50
    assert composed(compose, "opsnet_swin_l", "scenes", tmp_path).model.query_decoder.queries == 64


@pytest.mark.parametrize("backbone", ["r101", "swin_s", "swin_l"])
def test_every_stand_in_is_built(backbone, compose, tmp_path) -> None:
    import torch

    cfg = compose("train", "world=scenes", f"backbone={backbone}", f"output={tmp_path}")
    part = instantiate(cfg.backbone)
    assert part.strides == (2, 4, 8, 16)
    sizes = [tuple(m.shape[1:]) for m in part(torch.rand(1, 3, 96, 96))]
    assert sizes == [(c, 96 // s, 96 // s) for c, s in zip(part.channels, part.strides, strict=True)]
    plain = instantiate(compose("train", f"output={tmp_path}").backbone)
    assert sum(p.numel() for p in part.parameters()) > 1.5 * sum(p.numel() for p in plain.parameters())


def test_fine_tunings_have_labels_and_their_own_steps(compose, tmp_path) -> None:
    for world, steps, weight in (("real", 80_000, 1.0), ("scenes", 400, 4.0)):
        cls, both = (composed(compose, name, world, tmp_path) for name in ("opsnet_plus_r50_cls", "opsnet_plus_r50"))
        assert (cls.trainer.max_steps, cls.starts_from) == (steps, "opsnet_r50")
        assert {c.losses.image_label_matching.weight for c in (cls, both)} == {weight}
        assert (cls.losses.get("mask_sum"), both.losses.mask_sum.weight) == (None, 0.4)
        assert "labels" in cls.data.module


def test_the_command_line_chooses_within_a_world(compose, tmp_path) -> None:
    cfg = compose("train", "experiment=opsnet_r50", "world=scenes", "backbone=r50", "overlap=0.5", f"output={tmp_path}")
    assert (cfg.backbone.name, cfg.overlap) == ("resnet50.tv_in1k", 0.5)


def test_real_data_are_of_every_set(compose, tmp_path) -> None:
    cfg = compose("evaluate", "world=real", "checkpoint=a", "~data.module.test.cityscapes", f"output={tmp_path}")
    module = instantiate(cfg.data.module, _convert_="object")
    assert module.test_names == ("coco", "ade20k", "ade20k_semantic", "pascal_context")
    where = {name: module.builders[f"test/{name}"].keywords["annotations"] for name in module.test_names}
    assert where["ade20k"].endswith("ade20k/ade20k_panoptic_val.json")
    assert where["coco"].endswith("coco/annotations/panoptic_val2017.json")


@pytest.mark.parametrize(
    ("given", "table", "row"),
    [
        ("table=6 row=3", 6, 3),
        ("table=[4,6]", [4, 6], None),
        ("table=all", "all", None),
        ("table=2 row=[4,5]", 2, [4, 5]),
    ],
)
def test_tables_and_rows_are_keys_and_no_groups(given, table, row, compose) -> None:
    # Hydra would take `table=6` for the choice of a group if conf/table were a folder, and refuse the number.
    cfg = compose("evaluate", *given.split(), "checkpoint=a", "output=a")
    assert (cfg.table, cfg.row) == (table, row)


def test_the_sweep_of_table_6_has_its_cells(compose, tmp_path) -> None:
    from itertools import product

    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = hydra_compose("evaluate", ["sweep=table6", "checkpoint=a"], return_hydra_config=True)
    params = cfg.hydra.sweeper.params
    cells = set(product(params.alpha.split(","), params.beta.split(",")))
    jobs = [
        compose("evaluate", "sweep=table6", f"alpha={a}", f"beta={b}", "checkpoint=a", f"output={tmp_path}")
        for a, b in sorted(cells)[:3]
    ]
    assert {job.settings[0] for job in jobs} <= {row.setting for row in table_rows(6)}
    assert {f"alpha={a},beta={b}/cls_iou" for a, b in cells} == {row.setting for row in table_rows(6)}
    assert parse_setting(jobs[0].settings[0]).filter == "cls_iou"


def test_the_miniature_keeps_its_training_on_several_processes(compose, tmp_path) -> None:
    one = compose("train", "world=scenes", f"output={tmp_path}").trainer
    several = compose("train", "world=scenes", "trainer=scenes_ddp", "trainer.devices=2", f"output={tmp_path}").trainer
    assert (several.strategy, several.devices, several.precision) == ("ddp", 2, "32-true")
    for key in ("max_epochs", "check_val_every_n_epoch", "gradient_clip_val", "log_every_n_steps"):
        assert several[key] == one[key]
