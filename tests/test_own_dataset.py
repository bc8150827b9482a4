"""A dataset of one's own: a vocabulary, images, and the yaml of docs/datasets.md in a folder of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from documented import ROOT, blocks
from flat_set import COLOURS, write_flat_set
from small_training import SMALL

from opsnet.commands import doctor, evaluate, train

SIZES = ["data.shortest=null", "data.longest=null", "+data.module.train.transform.size=96", "data.module.num_workers=0"]
DOMAIN = "parking"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """OPSNET_DATA with the set ``parking``: eight training and four validation images."""
    root = tmp_path_factory.mktemp("data")
    write_flat_set(root / DOMAIN)
    (root / DOMAIN / "vocabulary.json").rename(root / DOMAIN / "classes.json")
    return root


def addition(root: Path) -> None:
    """Writes into a folder for --config-dir what adds the dataset: the yaml of the documentation."""
    (block,) = (text for text in blocks(ROOT / "docs" / "datasets.md", "yaml") if "paths.data}/parking" in text)
    (root / "data").mkdir(parents=True)
    (root / "data" / f"{DOMAIN}.yaml").write_text(block)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    """--config-dir of a folder with the yaml of the documentation."""
    root = tmp_path_factory.mktemp("conf")
    addition(root)
    return f"--config-dir={root}"


@pytest.fixture
def given(folder, data, world) -> list[str]:
    """What every command on this set is given."""
    return [folder, f"data={DOMAIN}", f"paths.data={data}", f"clip.model.weights={world.clip}"]


@pytest.fixture
def checkpoint(given, command, tmp_path) -> Path:
    """Of two steps on the set."""
    run = tmp_path / "run"
    code, error = command(train.main, *given, *SMALL, *SIZES, "trainer.max_epochs=2", f"hydra.run.dir={run}")
    assert code == 0, error
    return run / "checkpoints" / "last.ckpt"


def test_it_is_trained_on_validated_and_evaluated(checkpoint, given, command, tmp_path) -> None:
    validated = json.loads((checkpoint.parents[1] / "results.json").read_text())["metrics"]
    assert {"val/PQ", "train/loss"} <= validated.keys()
    stored = torch.load(checkpoint, weights_only=True)["opsnet"]["config"]["vocabulary"]
    assert [(c["id"], c["name"]) for c in stored["categories"]] == list(enumerate(COLOURS, start=1))
    run = tmp_path / "evaluated"
    wanted = ["settings=[full/cls_iou,query_only/cls]", "show=false", "device=cpu", f"hydra.run.dir={run}"]
    code, error = command(evaluate.main, *given[:-1], *SIZES[:2], SIZES[3], f"checkpoint={checkpoint}", *wanted)
    assert code == 0, error
    results = json.loads((run / "results.json").read_text())
    assert {tuple(key.split("/")[:3]) for key in results["metrics"]} == {
        (DOMAIN, "full", "cls_iou"), (DOMAIN, "query_only", "cls"),
    }  # fmt: skip
    assert results["domain_similarity"] == {DOMAIN: 1.0}  # its names are those of the training
    rows = (run / "per_class" / DOMAIN / "full_cls_iou.csv").read_text()
    assert all(name in rows for name in COLOURS)


def test_its_files_are_examined(given, command, data, tmp_path, capsys) -> None:
    command_line = [*given[:-1], f"hydra.run.dir={tmp_path / 'examined'}"]
    assert command(doctor.main, *command_line)[0] == 0
    (data / DOMAIN / "images" / "train" / "3.png").rename(tmp_path / "3.png")
    code, _ = command(doctor.main, *command_line)
    (tmp_path / "3.png").rename(data / DOMAIN / "images" / "train" / "3.png")
    assert code == 1


def test_a_name_that_no_yaml_has_is_one_sentence(given, command) -> None:
    code, error = command(train.main, given[0], "data=parkings")
    assert code == 2
    assert f"there is no data=parkings: did you mean {DOMAIN}?" in error.splitlines()[-1]
