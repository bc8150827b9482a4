"""Which command lines are rehearsals, and that they describe the run that opsnet-train would start."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from opsnet.diagnosis.command import FOLDER, compose_training, is_rehearsal
from opsnet.utils.errors import InputError


@pytest.mark.parametrize("line", [
    "experiment=opsnet_r50",
    "world=real data=coco",
    "data=coco backbone=r50",
    "data=own model=mask2former",
    "data=coco +trainer.accumulate_grad_batches=8",
    "data=coco optim.optimizer.lr=1e-4",
    "resume=auto",
])  # fmt: skip
def test_a_training_is_rehearsed(line: str) -> None:
    assert is_rehearsal(line.split())


@pytest.mark.parametrize("line", [
    "",
    "data=coco",
    "data=coco limit=5 samples=0",
    "data=coco data.root=there ~data.module.test.coco",
    "vocabulary=words.txt train=coco clip=tiny clip.model.weights=random",
    "data=scenes seed=1 paths.data=there hydra.run.dir=here",
    "--help",
])  # fmt: skip
def test_data_and_vocabularies_are_examined(line: str) -> None:
    assert not is_rehearsal(line.split())


def test_it_is_the_configuration_of_the_training(compose, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("OPSNET_RUNS", str(tmp_path))
    words = ["experiment=opsnet_swin_l", "++optim.optimizer.lr=5e-5"]
    cfg, target = compose_training(words)
    assert target.parent == tmp_path / "opsnet_swin_l"
    assert cfg.output == str(target)
    expected = compose("train", *words, f"output={target}")
    assert OmegaConf.to_container(cfg) == OmegaConf.to_container(expected)


@pytest.mark.parametrize("given", ["output=there/run", "hydra.run.dir=there/run"])
def test_the_folder_can_be_given(given: str) -> None:
    cfg, target = compose_training(["world=scenes", given])
    assert target == Path("there/run")
    assert cfg.output == "there/run"


@pytest.mark.parametrize("flag", ["--config-dir={}", "--config-dir {}", "-cd {}"])
def test_options_of_a_folder_of_ones_own_are_found(flag: str, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [scenes]\nexperiment_name: my_training\n"
    )
    words = [*flag.format(tmp_path).split(), "experiment=mine"]
    assert is_rehearsal(words)
    cfg, _ = compose_training(words)
    assert cfg.experiment_name == "my_training"
    assert cfg.data.root.endswith("scenes_0")
    with pytest.raises(InputError, match="--config-dir .*elsewhere is no folder"):
        compose_training([f"--config-dir={tmp_path / 'elsewhere'}", "experiment=mine"])


@pytest.mark.parametrize(("line", "words"), [
    ("-m experiment=opsnet_r50 seed=0,1", "only a single training can be rehearsed"),
    ("experiment=opsnet_r50 vocabulary=words.txt", "run opsnet-doctor once for each"),
])  # fmt: skip
def test_what_no_single_training_takes(line: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        compose_training(line.split())


def test_the_ranks_of_torchrun_do_not_rehearse_one_by_one(monkeypatch) -> None:
    for key, value in {"WORLD_SIZE": "8", "RANK": "1", "NODE_RANK": "0", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(InputError, match="start it once"):
        compose_training(["world=scenes"])
    monkeypatch.setenv(FOLDER, "there")  # set by the process that Lightning started this one from
    compose_training(["world=scenes"])
