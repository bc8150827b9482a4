"""experiment=finetune on small random weights in FC-CLIP's layout, and every command of docs/finetuning.md."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import pytest
import torch
from documented import ROOT, blocks, class_masks, run_documented
from fcclip_layout import CLIP_CONFIG, SMALL_FCCLIP, small_clip
from official_trees import coco_tree
from published_files import fcclip_state
from small_training import SMALL

from opsnet.commands import train
from opsnet.training.run import build_module, build_trainer, fit
from opsnet.vocabulary import Vocabulary

PAGE = ROOT / "docs" / "finetuning.md"
LITTLE = ("data.shortest=96", "data.longest=96", "data.coco.shortest=96", "data.coco.longest=96")
TRAIN = (*SMALL, *SMALL_FCCLIP, *LITTLE, "+data.module.train.transform.size=96", "data.module.num_workers=0")


@pytest.fixture
def weights(compose, tmp_path: Path) -> Path:
    """fcclip.pth: random weights, in which an empty CLIP map or mask is as unlikely as in trained ones."""
    torch.manual_seed(0)
    given = [*SMALL_FCCLIP, *small_clip("random"), f"output={tmp_path}"]
    module = build_module(compose("train", "experiment=finetune", *given), Vocabulary.load("coco"))
    torch.save({"model": fcclip_state(module.model)}, tmp_path / "fcclip.pth")
    torch.save(module.model.clip.text_encoder.clip.state_dict(), tmp_path / "clip.pt")
    (tmp_path / "open_clip_config.json").write_text(json.dumps(CLIP_CONFIG))
    return tmp_path / "fcclip.pth"


@pytest.fixture
def folder(world, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, as the page supposes it."""
    novel = world.data / "scenes_0" / "scenes_novel"
    categories = class_masks(novel, "val", tmp_path / "images", tmp_path / "masks")
    class_masks(novel, "test", tmp_path / "more_images", tmp_path / "more_masks")
    (tmp_path / "classes.json").write_text(json.dumps({"categories": categories}))
    coco_tree(tmp_path / "data" / "coco")
    monkeypatch.setenv("OPSNET_DATA", str(tmp_path / "data"))
    return tmp_path


def test_the_commands_of_the_page_run(folder: Path, command) -> None:
    lines = [shlex.split(line) for block in blocks(PAGE, "sh") for line in block.splitlines()]
    more = {
        "opsnet-train": [*TRAIN, *small_clip(folder / "clip.pt")],
        "opsnet-evaluate": [*LITTLE, "device=cpu", "panels=0", "data.module.num_workers=0"],
    }
    for words in lines:
        published = [f"clip_model={folder / 'open_clip_config.json'}"] if "checkpoint=fcclip.pth" in words else []
        run_documented(words, command, *more.get(words[0], []), *published)
    assert len(lines) == 6
    assert (folder / "forgetting.png").stat().st_size > 1000
    with (folder / "mine" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(bool(row.get("val/PQ") and row.get("probe/coco/PQ")) for row in rows) == 2
    for name in ("before", "after"):
        metrics = json.loads((folder / name / "results.json").read_text())["metrics"]
        assert {f"{d}/geometric_ensemble/fcclip/PQ" for d in ("own", "coco")} <= metrics.keys()


@pytest.fixture
def own(folder: Path, command) -> Path:
    """The same folder with data/own, as the first two commands of the page write it."""
    for line in blocks(PAGE, "sh")[0].splitlines()[:2]:
        run_documented(shlex.split(line), command)
    return folder


def test_a_few_steps_train_the_heads_and_leave_the_trunk_bitwise(own: Path, weights, compose) -> None:
    from hydra.utils import instantiate

    paths = [f"output={own / 'run'}", f"paths.runs={own}", f"paths.data={own / 'data'}"]
    given = ["experiment=finetune", *(o for o in TRAIN if "coco" not in o), *small_clip(own / "clip.pt")]
    cfg = compose("train", *given, *paths, f"init_from={weights}", "data.module.batch_size=4")
    data = instantiate(cfg.data.module, _convert_="object")
    data.setup("fit")
    module = build_module(cfg, data.datasets["train"].vocabulary)
    before = {name: tensor.clone() for name, tensor in module.model.state_dict().items()}
    trainer = build_trainer(cfg, own / "run")
    fit(trainer, module, data, None)
    assert trainer.global_step == 4
    after = module.model.state_dict()
    same = {name for name in after if torch.equal(after[name], before[name])}
    clip = {name for name in after if name.startswith("clip.")}
    assert clip <= same
    assert any("visual.trunk" in name for name in clip)
    assert same - clip == set()


def test_a_wrong_network_is_one_sentence(own: Path, weights, command) -> None:
    given = [*(o for o in TRAIN if "coco" not in o), *small_clip(own / "clip.pt"), "model.query_decoder.queries=9"]
    code, error = command(train.main, "experiment=finetune", f"init_from={weights}", f"hydra.run.dir={own}", *given)
    assert code == 2
    assert "Traceback" not in error
    line = error.strip().splitlines()[-1]
    assert line.startswith(f"error: weights {weights} (init_from) have another size: 2 of")
    assert "model=fcclip backbone=clip" in line


def test_the_recipe(compose, tmp_path: Path) -> None:
    cfg = compose("train", "experiment=finetune", "init_from=a.pth", f"output={tmp_path}")
    assert (cfg.clip.model.architecture.model_name, cfg.clip.templates) == ("convnext_large_d_320", "vild14")
    assert (cfg.optim.optimizer.lr, cfg.optim.max_epochs, cfg.trainer.check_val_every_n_epoch) == (1e-5, 20, 2)
    assert cfg.data.root.endswith("own")
    other = compose("train", "experiment=opsnet_r50", "optim=finetune", "data=own", f"output={tmp_path}")
    assert (other.optim.optimizer.lr, other.backbone.name) == (1e-5, "resnet50.tv_in1k")
