"""A recognizer of one's own that learns: a class outside the package, yamls in a folder of one's own, nothing else."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from small_training import SMALL
from torch import Tensor, nn

import opsnet
from opsnet.commands import evaluate, predict
from opsnet.recognition.recognizer import PreparedNames, Recognizer, name_logits
from opsnet.structures import Embeddings
from opsnet.utils.errors import CheckpointError
from opsnet.vocabulary import Vocabulary

ROOT, DIM = Path(__file__).parent.parent, 128
NAME = "test_own_recognizer.Gate"


class Gate(Recognizer):
    """Weights query and CLIP embedding by a learned gate per dimension.

    Args:
        dim: D.
        query: share of the query embedding, from which training starts.
    """

    def __init__(self, *, dim: int, query: float = 0.5) -> None:
        super().__init__()
        self.dim, self.query = dim, query
        self.gate = nn.Parameter(torch.full((dim,), query))

    def forward(self, embeddings: Embeddings, names: PreparedNames, no_object: Tensor) -> tuple[Tensor, Tensor]:
        query, clip = (F.normalize(e.float(), dim=-1) for e in (embeddings.query, embeddings.clip))
        return name_logits(self.gate * query + (1 - self.gate) * clip, names.target, no_object)


def addition(root: Path) -> None:
    """Writes into a folder for --config-dir what adds the recognizer: its yaml."""
    (root / "modulation").mkdir(parents=True)
    (root / "modulation" / "gate.yaml").write_text(f"_target_: {NAME}\ndim: {DIM}\nquery: 0.5\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    """--config-dir of a folder with it, two more of its class, a filter and an experiment."""
    root = tmp_path_factory.mktemp("own") / "conf"
    addition(root)
    for group in ("filtering", "experiment"):
        (root / group).mkdir()
    for name, query in (("gate_query", 1.0), ("gate_clip", 0.0)):
        (root / "modulation" / f"{name}.yaml").write_text(f"_target_: {NAME}\ndim: {DIM}\nquery: {query}\n")
    (root / "modulation" / "gate_defaults.yaml").write_text("defaults: [gate, _self_]\nquery: 0.7\n")
    (root / "filtering" / "every_mask.yaml").write_text(
        "_target_: opsnet.panoptic.mask_filtering.MaskFiltering\nkind: cls\nthreshold: 0.0\n"
    )
    (root / "experiment" / "gated.yaml").write_text(
        "# @package _global_\n"
        "defaults: [scenes, {override /modulation: gate}]\n"
        "experiment_name: gated\n"
        "held_out: [orange cross, green heart, purple checks]\n"
        "losses: {recognition: {weight: 1.0}}\n"
    )
    return f"--config-dir={root}"


@pytest.fixture(scope="module")
def checkpoint(folder, world_overrides, tmp_path_factory) -> Path:
    """Of eight steps, by the command line as a user types it."""
    run = tmp_path_factory.mktemp("gated") / "run"
    given = [folder, *world_overrides, *SMALL, f"hydra.run.dir={run}", "experiment=gated"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, "-m", "opsnet.train", *given]
    done = subprocess.run(command, cwd=run.parent, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return run / "checkpoints" / "last.ckpt"


@pytest.fixture
def trusted(monkeypatch) -> None:
    monkeypatch.setenv("OPSNET_TRUSTED_CLASSES", NAME)


def gate_of(path: Path) -> Tensor:
    return torch.load(path, weights_only=True)["state_dict"]["recognizer.gate"]


def test_it_is_trained_and_saved(checkpoint) -> None:
    gate = gate_of(checkpoint)
    assert gate.shape == (DIM,)
    assert ((gate - 0.5).abs() > 1e-4).all()
    with (checkpoint.parents[1] / "metrics.csv").open() as file:
        assert all(0 < float(row["train/recognition"]) < 100 for row in csv.DictReader(file) if row["train/loss"])


def test_it_is_built_from_a_checkpoint_only_where_it_is_trusted(
    checkpoint, monkeypatch, tmp_path, sample_images
) -> None:
    with pytest.raises(CheckpointError, match=f"inference.recognizer._target_ = '{NAME}'.*OPSNET_TRUSTED_CLASSES"):
        opsnet.load(checkpoint, device="cpu")
    monkeypatch.setenv("OPSNET_TRUSTED_CLASSES", NAME)
    predictor = opsnet.load(checkpoint, device="cpu")
    assert type(predictor.recognizer).__qualname__ == "Gate"
    assert torch.equal(predictor.recognizer.gate.detach(), gate_of(checkpoint))
    predictor.save_pretrained(tmp_path / "folder")
    again = opsnet.load(tmp_path / "folder", device="cpu")
    assert torch.equal(again.recognizer.gate, predictor.recognizer.gate)
    logits = []
    for one in (predictor, again):
        output = one.propose(sample_images[0])
        names = one.prepared(Vocabulary.from_names(["red circle", "grass"]))
        logits.append(one.recognizer(output.embeddings(), names, one.trained.model.no_object_embed)[0])
    assert torch.equal(*logits)


def per_class(command, folder, world_overrides, checkpoint, run, *settings) -> list[str]:
    """Evaluates on the unseen domain: per setting, the table of each class with its false positives."""
    given = [f"checkpoint={checkpoint}", f"settings=[{','.join(settings)}]", f"hydra.run.dir={run}"]
    quiet = ["panels=0", f"detail_setting=[{','.join(settings)}]", "show=false", "device=cpu"]
    domains = ["~data.module.test.scenes", "~data.module.test.scenes_street"]
    code, error = command(evaluate.main, folder, *world_overrides, *given, *quiet, *domains)
    assert code == 0, error
    metrics = json.loads((run / "results.json").read_text())["metrics"]
    assert {tuple(key.split("/")[1:3]) for key in metrics} == {tuple(name.split("/")) for name in settings}
    tables = run / "per_class" / "scenes_novel"
    return [(tables / f"{name.replace('/', '_')}.csv").read_text() for name in settings]


def test_the_checkpoint_is_evaluated(checkpoint, folder, trusted, command, world_overrides, tmp_path) -> None:
    per_class(command, folder, world_overrides, checkpoint, tmp_path / "run", "trained/cls_iou", "gate/every_mask")


def test_stored_proposals_have_what_it_learned(
    checkpoint, folder, trusted, command, world_overrides, tmp_path, monkeypatch
) -> None:
    run, again, logits = tmp_path / "stored", tmp_path / "again", {}
    original = Gate.forward

    def noted(self: Gate, *arguments: object) -> tuple[Tensor, Tensor]:
        logits[self.training] = original(self, *arguments)
        return logits[self.training]

    monkeypatch.setattr(Gate, "forward", noted)
    given = [folder, *world_overrides, "settings=[trained/cls_iou]", "show=false", "device=cpu", "panels=0"]
    given += ["~data.module.test.scenes", "~data.module.test.scenes_street"]
    stored = [f"checkpoint={checkpoint}", "save_proposals=true", f"hydra.run.dir={run}"]
    assert command(evaluate.main, *given, *stored)[0] == 0
    of_network = logits.pop(False)
    assert command(evaluate.main, *given, f"proposals={run}", f"hydra.run.dir={again}")[0] == 0
    (found,) = logits.values()
    assert torch.equal(found[0], of_network[0])
    assert logits.keys() == {False}  # not in training mode


def test_settings_name_yamls_of_the_folder(lenient_checkpoint, folder, command, world_overrides, tmp_path) -> None:
    """With all weight on one embedding it is the package's recognizer of this embedding."""
    names = [f"{name}/every_mask" for name in ("gate_query", "query_only", "gate_clip", "clip_only")]
    tables = per_class(command, folder, world_overrides, lenient_checkpoint, tmp_path / "run", *names)
    assert tables[0] == tables[1] != tables[2] == tables[3]


@pytest.mark.parametrize(
    ("given", "setting", "parts"),
    [
        ([], "gate/cls_iou", ["no modulation 'gate'", "full"]),
        (None, "gat/cls_iou", ["no modulation 'gat'", "gate, gate_clip"]),
        (None, "full/every", ["no filtering 'every'", "every_mask"]),
        (None, "gate_defaults/cls_iou", ["modulation/gate_defaults.yaml", "defaults list", "write all its keys"]),
    ],
)
def test_what_no_yaml_describes_is_one_sentence(given, setting, parts, folder, command, lenient_checkpoint, tmp_path):
    code, error = command(
        evaluate.main, *([folder] if given is None else given), f"checkpoint={lenient_checkpoint}",
        f"settings=[{setting}]", f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert code == 2
    assert error.splitlines()[-1].startswith("error: ")
    assert all(part in error.splitlines()[-1] for part in parts), error


def test_a_prediction_takes_it_in_place_of_the_checkpoints(lenient_checkpoint, folder, command, world, tmp_path):
    image = next((world.data / "scenes_0" / "scenes_novel" / "test").glob("*.png"))
    written = {}
    for name in ("gate_query", "query_only", "clip_only"):
        run = tmp_path / name
        code, error = command(
            predict.main, folder, f"checkpoint={lenient_checkpoint}", f"image={image}", f"modulation={name}",
            "filtering=every_mask", "vocabulary=scenes_novel", "device=cpu", f"hydra.run.dir={run}",
        )  # fmt: skip
        assert code == 0, error
        (found,) = json.loads((run / "panoptic.json").read_text())["annotations"]
        written[name] = [(s["category_id"], s["area"]) for s in found["segments_info"]]
    assert written["gate_query"] == written["query_only"] != written["clip_only"]
