"""``opsnet_r50`` rehearsed as a whole: sound, and with every fault planted at once."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from official_trees import coco_tree
from rehearsal_overrides import ONLY_COCO, RANDOM_CLIP, SMALL_R50

from opsnet.commands import doctor
from opsnet.diagnosis.checklist import Checklist
from opsnet.diagnosis.run import prepare

PRINTED = (
    r"ok devices: 1 x CPU, \d+ threads",
    r"ok set train: 1 images; a batch of 1 x 64 x 64 pixels \(width x height\) with 3 segments",
    r"ok set val: 1 images; a batch of 1 x 96 x 64 pixels \(width x height\) with 3 segments",
    r"ok optimizer step: 2 taken in bf16-mixed, of 2 batches, loss \d",
    r"ok validation: a batch of 1, val/PQ logged",
    r"ok checkpoint: written and read back in .* s, identical: \d+ tensors, 0.50 GiB",
    r"ok disk: checkpoints take 1.5\d GiB \(3 x 0.50 GiB: best, last, and one being written\)",
    r"steps +50 \(50.0 epochs of 1 images\)",
    r"total batch +1 images per step \(1 per device x 1 devices x 1 accumulated\)",
    r"learning rate +1e-05, 0 steps of warm-up",
    r"parameters: backbone +23.45 M trained",
    r"parameters: pixel decoder +\d+.\d\d M trained",
    r"parameters: query decoder +\d+.\d\d M trained",
    r"parameters: CLIP, frozen +102.01 M frozen",
    r"peak memory +\d.\d\d GiB of the process",
    r"seconds per step +\d",
    r"estimated end +\d{4}-\d\d-\d\d \d\d:\d\d, if started now on this CPU",
    r"0 failures, 2 warnings",  # both networks are random
)


@pytest.fixture
def rehearsed(monkeypatch, tmp_path: Path, capfd):
    """(arguments) -> exit code and output of opsnet-doctor, with COCO of an image a set."""
    coco_tree(tmp_path / "data" / "coco")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # what main() sets is taken back after the test
    monkeypatch.setenv("OPSNET_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OPSNET_RUNS", str(tmp_path / "runs"))

    def run(*arguments: str) -> tuple[object, str]:
        capfd.readouterr()
        monkeypatch.setattr("sys.argv", ["opsnet-doctor", *arguments])
        code: object = 0
        try:
            doctor.main()
        except SystemExit as end:
            code = end.code
        out, err = capfd.readouterr()
        return code, out + err

    return run


def test_a_sound_run_is_taken_two_steps_far_and_leaves_nothing(rehearsed, tmp_path: Path) -> None:
    code, text = rehearsed(*SMALL_R50, *RANDOM_CLIP, *ONLY_COCO)
    assert code == 0, text
    for pattern in PRINTED:
        assert re.search(pattern, text), (pattern, text)
    assert "Traceback" not in text
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def openai_like(path: Path) -> Path:
    """A file of random weights of RN50, stored in half precision as OpenAI's."""
    import open_clip
    from safetensors.torch import save_file

    state = open_clip.create_model("RN50").half().state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


def test_every_planted_fault_is_named(rehearsed, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "data" / "coco" / "annotations" / "panoptic_train2017" / "000000000009.png").unlink()
    (tmp_path / "runs").write_text("a file in the place of the folder")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**9))
    clip = [
        f"clip.model.weights={openai_like(tmp_path / 'RN50.safetensors')}",
        "clip.model.architecture.pretrained=null",
    ]
    code, text = rehearsed(*SMALL_R50, *clip, "clip.model.architecture.model_name=RN50", "optim.optimizer.lr=1e-4")
    assert code == 1, text
    for sentence in (
        r"fails set train: 000000000009.png, named in .*panoptic_train2017.json, is not in",
        r"fails CLIP activation: CLIP is built with GELU, but needs QuickGELU according to RN50.safetensors .*: give "
        r"clip.model.architecture.model_name=RN50-quickgelu",
        r"warning learning rate: 1 images per step at learning rate 0.0001 do not match the recipe",
        r"fails disk: checkpoints take .*, but the disk of .* has 0.93 GiB free",
        r"fails checkpoint folder: .*/checkpoints is not writable \(Not a directory: .*runs\): "
        r"give a writable paths.runs=",
    ):
        assert re.search(sentence, text), (sentence, text)
    assert "4 failures, 6 warnings" in text  # the rate, the backbone, and four sets that only evaluation reads
    assert "Traceback" not in text


def test_missing_devices_are_a_failure_and_the_rest_is_rehearsed(train_config, tmp_path: Path, monkeypatch) -> None:
    import torch

    from opsnet.diagnosis.run import rehearse

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cfg = train_config(tmp_path / "run", "trainer=scenes_ddp", "trainer.devices=8", "trainer.accelerator=auto")
    taken = []
    monkeypatch.setattr("opsnet.diagnosis.run.print_run", lambda *parts: taken.append(parts))
    assert rehearse(cfg, tmp_path / "run") == 1
    plan, figures = taken[0][0], taken[0][4]
    assert (plan.devices, plan.accumulate) == (8, 1)
    assert figures.steps == 1
    assert len(figures.seconds) == 8  # one device takes the batches of eight


def test_a_fine_tuning_without_its_start_is_a_failure(train_config, tmp_path: Path) -> None:
    checklist = Checklist()
    cfg = train_config(tmp_path / "run", "++starts_from=opsnet_r50")
    prepared = prepare(cfg, tmp_path / "run", checklist)
    assert [result.check for result in checklist.of("failure")] == ["losses"]
    assert "init_from=PATH" in checklist.of("failure")[0].sentence
    assert prepared.module is not None


def test_a_checkpoint_of_another_clip_is_named(train_config, trained, world, tmp_path: Path) -> None:
    checklist = Checklist()
    other = f"clip.model.weights={world.other_clip}"
    prepare(train_config(tmp_path / "run", f"resume={trained.checkpoint}", other), tmp_path / "run", checklist)
    assert [result.check for result in checklist.of("failure")] == ["resume"]
    assert "was trained with CLIP weights" in checklist.of("failure")[0].sentence


def test_a_row_of_a_table_is_no_training(rehearsed) -> None:
    code, text = rehearsed("experiment=table1_row1")
    assert code == 2
    assert "experiment=table1_row1 was renamed" in text
