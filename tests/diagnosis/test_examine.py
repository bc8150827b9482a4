"""opsnet-doctor: a vocabulary on the tiny world's CLIP, data sets with planted defects, and both in one command."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from official_trees import imagenet21k_tree
from omegaconf import OmegaConf
from PIL import Image
from planted_defects import DEFECTS, Defect, sound_set

from opsnet.commands import doctor
from opsnet.diagnosis.examine import examine_data, examine_vocabulary


@pytest.fixture
def examined(compose, world):
    def run(output: Path, vocabulary: str, *overrides: str):
        texts = [f"vocabulary='{vocabulary}'", "train=scenes", "clip=tiny"]
        return examine_vocabulary(compose("doctor", *texts, f"paths.data={world.data}", f"output={output}", *overrides))

    return run


def test_the_training_vocabulary_beside_itself(examined, tmp_path: Path, capsys) -> None:
    fit = examined(tmp_path, "scenes")
    assert fit.similarity == 1.0
    assert fit.strength == 0.0
    assert all(c.name == c.nearest and c.factor == 1.0 for c in fit.concepts)
    printed = capsys.readouterr().out
    assert "scenes (18 concepts) and scenes (18): s = 1.000, alpha (1 - s) = 0.00" in " ".join(printed.split())


def test_every_concept_is_in_the_csv(examined, tmp_path: Path) -> None:
    fit = examined(tmp_path, "scenes_novel", "alpha=5", "beta=1")
    with (tmp_path / "vocabulary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [c.name for c in fit.concepts]
    for row, concept in zip(rows, fit.concepts, strict=True):
        assert float(row["cosine"]) == pytest.approx(concept.cosine, abs=1e-4)
        assert float(row["debias factor"]) == pytest.approx(1 / concept.cosine, abs=1e-3)
    assert fit.strength == pytest.approx(5 * (1 - fit.similarity))
    with Image.open(tmp_path / "similarity.png") as picture:
        assert min(picture.size) > 300


def test_names_that_clip_cuts_and_look_alikes_are_named(examined, tmp_path: Path, capsys) -> None:
    long = "a word after a word after a word after a word"
    examined(tmp_path, f"red circle, {long}, Red Circle !", "alike=0.9999")
    printed = " ".join(capsys.readouterr().out.split())
    assert f"CLIP truncates '{long}': shorten it" in printed
    examined(tmp_path, "circle red, square red", "alike=-1")
    assert "Look-alikes (1 pairs)" in capsys.readouterr().out


@pytest.fixture(scope="module")
def coco_config(compose):
    """The configuration of `opsnet-doctor data=coco` with its training set alone."""
    return compose("doctor", "data=coco", "data.module.val=null", "data.module.test={}", "samples=0", "output=unset")


@pytest.fixture
def doctored(coco_config, tmp_path: Path):
    """(root of a planted set) -> the exit code of the task."""

    def run(root: Path) -> int:
        cfg = OmegaConf.create(coco_config)
        cfg.data.root, cfg.output = str(root), str(tmp_path / "out")
        cfg.data.module.train.vocabulary = str(root / "pets.json")
        try:
            doctor.run(cfg)
        except SystemExit as end:
            return int(end.code)
        return 0

    return run


def test_a_sound_set_ends_with_zero(doctored, tmp_path: Path) -> None:
    assert doctored(sound_set(tmp_path / "data").root) == 0


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda d: f"{d.kind.name}-{d.offender}")
def test_errors_end_with_one_and_warnings_with_zero(defect: Defect, doctored, tmp_path: Path, capsys) -> None:
    made = sound_set(tmp_path / "data")
    defect.plant(made)
    assert doctored(made.root) == (1 if defect.kind.severity == "error" else 0)
    printed = capsys.readouterr().out
    assert defect.kind.name in printed
    assert defect.offender in printed


def test_the_embedded_world_is_sound(compose, world_overrides, tmp_path: Path, capsys) -> None:
    cfg = compose("doctor", "data=scenes", *world_overrides, f"output={tmp_path}", "samples=1", "limit=4")
    assert examine_data(cfg) == 0
    assert capsys.readouterr().out.count("4 annotations inspected") == 5
    assert len(list(tmp_path.glob("samples_*.png"))) == 5


def test_the_whole_command_on_data(command, world, world_overrides, tmp_path: Path) -> None:
    run = [f"hydra.run.dir={tmp_path / 'run'}", "data=scenes", "samples=1", *world_overrides]
    assert command(doctor.main, *run)[0] == 0
    copy = tmp_path / "copy"
    shutil.copytree(world.data / "scenes_0", copy / "scenes_0")
    png = copy / "scenes_0" / "scenes_novel" / "annotations" / "panoptic_test" / "000003.png"
    Image.fromarray(np.full((96, 96, 3), 7, np.uint8)).save(png)
    code, text = command(doctor.main, *run, f"paths.data={copy}")
    assert code == 1, text
    assert "Traceback" not in text
    with (tmp_path / "run" / "findings.csv").open(newline="") as file:
        found = [row for row in csv.DictReader(file) if row["severity"] == "error"]
    assert {(row["set"], row["where"]) for row in found} == {("test/scenes_novel", "000003.png")}
    assert {row["kind"] for row in found} == {"id that the json does not list", "segment without a pixel"}


def test_a_vocabulary_and_data_in_one_command(command, world_overrides, tmp_path: Path) -> None:
    both = ["vocabulary=scenes", "train=scenes", "clip=tiny", "data=scenes", "limit=1", *world_overrides]
    assert command(doctor.main, f"hydra.run.dir={tmp_path / 'run'}", *both)[0] == 0
    assert (tmp_path / "run" / "vocabulary.csv").is_file()
    assert (tmp_path / "run" / "findings.csv").is_file()


def test_a_folder_of_imagenet_that_is_not_there(compose, tmp_path: Path, capsys) -> None:
    assert examine_data(compose("doctor", "data=imagenet", f"output={tmp_path}", f"paths.data={tmp_path}")) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "labels that do not fit: 1" in text
    assert "does not exist: check `images`" in text


def test_the_shards_of_imagenet_21k(compose, tmp_path: Path, capsys) -> None:
    imagenet21k_tree(tmp_path / "imagenet21k")
    (tmp_path / "classes.txt").write_text("2084071:dog\n15388:animal\n")
    given = [f"output={tmp_path}", f"paths.data={tmp_path}", f"paths.cache={tmp_path}"]
    given += [f"data.module.train.vocabulary={tmp_path / 'classes.txt'}"]
    assert examine_data(compose("doctor", "data=imagenet21k", *given)) == 0
    assert "3 labels" in " ".join(capsys.readouterr().out.split())
    shard = tmp_path / "imagenet21k" / "imagenet_w21-train-0001.tar"
    shard.write_bytes(shard.read_bytes()[:800])
    assert examine_data(compose("doctor", "data=imagenet21k", *given)) == 1
    assert "download it again" in " ".join(capsys.readouterr().out.split())
