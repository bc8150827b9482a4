"""Every command of README.md is run: here on the synthetic world, by a test of its own, or as a make target."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from documented import ROOT, blocks, class_masks, commands, run_documented
from official_trees import ade20k_tree, coco_tree
from small_training import SMALL

PAGE = ROOT / "README.md"
TRAIN = [*SMALL, "logger=csv"]
TEXT = ["clip=tiny", "clip.model.weights=random"]  # RN50's weights cannot be downloaded in a test
# Command -> what is added to it: small sizes, and weights that a test has.
RUN = {
    ".venv/bin/opsnet-predict checkpoint=runs/make_run_seed0/<date_time>/opsnet/checkpoints/last.ckpt "
    "image=data/scenes_0/scenes_novel/test/000000.png "
    'vocabulary="pink flower, yellow house, orange moon, blue waves"': [],
    "opsnet-prepare ade20k ADEChallengeData2016": ["data/ade20k"],
    "opsnet-doctor data=ade20k": [],
    "opsnet-evaluate checkpoint=last.ckpt data=ade20k settings=[full/cls_iou]": [],
    "opsnet-train experiment=scenes seed=1": TRAIN,
    "opsnet-train experiment=scenes seed=1 resume=auto": TRAIN,
    "opsnet-train experiment=scenes_plus init_from=last.ckpt": [*TRAIN[:-1], "trainer.max_steps=2"],
    "opsnet-evaluate checkpoint=last.ckpt settings=[full/cls_iou,clip_only/cls_iou]": [],
    "opsnet-evaluate table=6 checkpoint=last.ckpt": ["trained_as=opsnet_r50"],
    "opsnet-evaluate checkpoint=last.ckpt compare=recognizers": [],
    "opsnet-evaluate checkpoint=last.ckpt settings=[full/cls_iou] oracles=true instances=true": [],
    "opsnet-evaluate checkpoint=last.ckpt settings=[full/cls] semantic_from_proposals=true instances=true": [],
    "opsnet-evaluate checkpoint=last.ckpt data=coco data.split=tuning data.tuning_images=2000 "
    "tune.threshold=[0,0.05,0.1]": [],
    "opsnet-evaluate checkpoint=last.ckpt save_proposals=true": ["hydra.run.dir=FOLDER"],
    "opsnet-evaluate proposals=FOLDER settings=[alpha=8,beta=0.5/cls_iou]": [],
    "python -m scripts.paper.table 6 --world scenes": [],
    "opsnet-predict checkpoint=last.ckpt image=photo.png vocabulary=words.txt": [],
    "opsnet-predict checkpoint=last.ckpt image=photo.png vocabulary=imagenet21k top_k=5": [],
    "opsnet-doctor vocabulary=words.txt train=coco": TEXT,
    "opsnet-doctor data=coco": [],
    "opsnet-prepare own masks IMAGES MASKS --vocabulary classes.json --set train": [],
    "opsnet-score --gt GT.json --pred PRED.json": [],
    "opsnet-train experiment=opsnet_r101 world=scenes": TRAIN,
    "python -m scripts.benchmarks.model_card backbone=swin_l": [],
}  # fmt: skip
# Full-size trainings, whose configuration is made; CUDA and eight GPUs are not at hand.
COMPOSED = [
    "opsnet-train experiment=opsnet_r101",
    "opsnet-train data=coco backbone=r50 clip=rn50 model=mask2former losses=mask2former optim=mask2former trainer=ddp "
    "trainer.devices=8 logger=wandb experiment_name=coco_r50",
]
# Command -> the test that runs it, with networks, weights or servers of its own.
ELSEWHERE = {
    "opsnet-predict model.weights=PATH backbone=swin_l model.query_decoder.queries=200 modulation=clip_only "
    'filtering=objectness image=photo.png vocabulary="red car, sky, lamp post"':
        "test_zero_shot.py::test_the_command_writes_named_segments",
    "opsnet-predict checkpoint=fcclip_convnext_large.pth image=photo.png vocabulary=words.txt":
        "test_models_page.py::test_the_command_runs",
    "opsnet-demo checkpoint=last.ckpt": "test_page_in_browser.py::test_two_visitors_use_every_control",
    "opsnet-export checkpoint=last.ckpt output=opsnet.onnx":
        "test_export.py::test_the_file_has_the_outputs_of_the_network",
    "opsnet-doctor experiment=opsnet_r50":
        "test_run.py::test_a_sound_run_is_taken_two_steps_far_and_leaves_nothing",
    "opsnet-train experiment=camvid backbone.weights=lite2.safetensors":
        "test_camvid.py::test_two_steps_a_validation_and_an_evaluation",
    "opsnet-train experiment=finetune init_from=fcclip.pth data=own":
        "test_finetuning.py::test_the_commands_of_the_page_run",
    "opsnet-train-clip": "test_train_clip.py::test_a_resumed_training_ends_with_the_same_weights",
    "python -m scripts.miniature.summarize_seeds RUN RUN RUN":
        "test_summarize_seeds.py::test_prints_and_writes_both_tables",
    "python -m scripts.published.score_mask2former backbone=r50 model.weights=PATH":
        "test_score_mask2former.py::test_the_command_scores_cocos_validation_set",
    "python -m scripts.benchmarks.pairs": "test_benchmarks.py::test_a_benchmark_is_printed",
    "python -m scripts.benchmarks.memory backbone=swin_l": "test_benchmarks.py::test_every_part_of_a_step_is_measured",
    "python -m scripts.published.check_parity FOLDER --size 640x853":
        "test_checkpoints.py::test_the_script_detects_a_difference",
    "python -m scripts.published.convert_mask2former model_final.pkl mask2former.safetensors":
        "test_checkpoints.py::test_the_converted_file_loads_like_the_original",
    "opsnet-prepare wordnet": "test_wordnet.py::test_the_file_that_debian_leaves_out",
}  # fmt: skip


def targets() -> list[str]:
    return [command for command in commands(PAGE) if command.startswith("make ")]


@pytest.fixture(scope="module")
def folder(world, lenient_checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the page supposes it, with the synthetic world of the tests under data/."""
    here = tmp_path_factory.mktemp("reader")
    shutil.copytree(world.data, here / "data")
    novel = here / "data" / "scenes_0" / "scenes_novel"
    kept = here / "runs" / "make_run_seed0" / "date_time" / "opsnet" / "checkpoints"
    kept.mkdir(parents=True)
    for path in (here / "last.ckpt", kept / "last.ckpt"):
        shutil.copy(lenient_checkpoint, path)
    shutil.copy(novel / "test" / "000000.png", here / "photo.png")
    (here / "words.txt").write_text("red circle, scarlet disc\ngreen stripes\n")
    categories = class_masks(novel, "val", here / "IMAGES", here / "MASKS")
    (here / "classes.json").write_text(json.dumps({"categories": categories}))
    for side in ("GT", "PRED"):
        shutil.copy(novel / "annotations" / "panoptic_test.json", here / f"{side}.json")
        shutil.copytree(novel / "annotations" / "panoptic_test", here / side)
    coco_tree(here / "data" / "coco")
    ade20k_tree(here / "ADEChallengeData2016")
    return here


@pytest.fixture
def reader(folder: Path, command, monkeypatch: pytest.MonkeyPatch):
    """Runs a command line in that folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("OPSNET_DATA", "data")
    monkeypatch.setenv("OPSNET_RUNS", "runs")
    return lambda line, *more: run_documented(shlex.split(line.replace("<date_time>", "date_time")), command, *more)


def test_no_command_is_forgotten() -> None:
    assert sorted(commands(PAGE)) == sorted([*RUN, *COMPOSED, *ELSEWHERE, *targets()])


@pytest.mark.parametrize("line", RUN)
def test_it_runs(line: str, reader, folder: Path, world_overrides) -> None:
    small = []
    if "data=" not in line and re.match(r"opsnet-(train|evaluate) ", line):
        small = [word for word in world_overrides if not word.startswith("paths")]
    if "resume=auto" in line:
        reader(line.removesuffix(" resume=auto"), *RUN[line], *small)
    if "proposals=FOLDER" in line:
        reader("opsnet-evaluate checkpoint=last.ckpt save_proposals=true hydra.run.dir=FOLDER", *small)
    if "data=ade20k" in line:
        reader("opsnet-prepare ade20k ADEChallengeData2016", "data/ade20k")
    reader(line, *RUN[line], *small)


@pytest.mark.parametrize("line", COMPOSED)
def test_it_composes(line: str, compose, tmp_path: Path) -> None:
    cfg = compose("train", *line.split()[1:], f"output={tmp_path}")
    assert cfg.data.vocabulary == "coco"
    assert cfg.clip.model.architecture.model_name == "RN50-quickgelu"


@pytest.mark.parametrize("test", ELSEWHERE.values())
def test_it_has_a_test_of_its_own(test: str) -> None:
    file, name = test.split("::")
    (path,) = (ROOT / "tests").rglob(file)
    assert f"def {name}(" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("line", targets())
def test_it_is_a_target(line: str) -> None:
    subprocess.run([*shlex.split(line), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_the_python_runs(reader, folder: Path) -> None:
    (block,) = blocks(PAGE, "python")
    exec(compile(block, "README.md", "exec"), {})
