"""Malicious checkpoints and folders: every command refuses them, and no code in them runs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attacks import ATTACKS, Attack
from PIL import Image

import opsnet
from opsnet.checkpoint.content import add_content
from opsnet.checkpoint.loading import check_resume, load_checkpoint
from opsnet.commands import evaluate as evaluate_command
from opsnet.commands import export as export_command
from opsnet.commands import predict as predict_command
from opsnet.evaluation.run import evaluate
from opsnet.exporting.run import export
from opsnet.prediction.predictor import Predictor
from opsnet.prediction.run import predict
from opsnet.training.run import build_module
from opsnet.utils.errors import CheckpointError
from opsnet.vocabulary import Vocabulary

RUN = ("os.system", "eval", "open", "collect_env", "torch.load", "write_text", "chain", "chain to a method", "nested",
       "in a list", "partial", "oc.create", "oc.env", "recognizer")  # fmt: skip


@pytest.fixture
def command_of(compose, tmp_path) -> Callable[[str, Path], list[str]]:
    """(command, checkpoint or folder) -> its command line."""
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.png")
    more = {
        "evaluate": [],
        "predict": [f"image={tmp_path / 'photo.png'}", "vocabulary=sea"],
        "export": ["format=pt2"],
        "demo": [],
    }
    return lambda name, path: [f"checkpoint={path}", *more[name]]


@pytest.fixture
def entry_points(compose, command_of, tmp_path) -> dict[str, Callable[[Path, Path], Any]]:
    """Name -> a call with a checkpoint and a folder."""

    def run(name: str, task: Callable[[Any], Any], path: Path) -> None:
        output = tmp_path / ("out.pt2" if name == "export" else "out")
        task(compose(name, *command_of(name, path), f"output={output}"))

    return {
        "evaluate": lambda file, folder: run("evaluate", evaluate, file),
        "predict": lambda file, folder: run("predict", predict, file),
        "predict from a folder": lambda file, folder: run("predict", predict, folder),
        "export": lambda file, folder: run("export", export, file),
        "opsnet.load": lambda file, folder: opsnet.load(file, device="cpu"),
        "opsnet.load of a folder": lambda file, folder: opsnet.load(folder, device="cpu"),
        "from_pretrained": lambda file, folder: Predictor.from_pretrained(folder, device="cpu"),
        "load_checkpoint": lambda file, folder: load_checkpoint(file, device="cpu"),
    }


@pytest.mark.parametrize("attack", RUN)
def test_every_way_to_load_refuses_it_and_nothing_runs(attack: str, planted, canary, entry_points) -> None:
    file, folder = planted(ATTACKS[attack])
    for name, load in entry_points.items():
        with pytest.raises(CheckpointError) as caught:
            load(file, folder)
        assert ATTACKS[attack].key in str(caught.value), name
        assert not canary.exists(), name


@pytest.mark.parametrize("attack", ["os.system", "oc.create"])
def test_the_page_refuses_it(attack: str, planted, canary, compose, command_of) -> None:
    pytest.importorskip("gradio", reason="the page needs the extra demo")
    from opsnet.web_demo.run import demo

    for path in planted(ATTACKS[attack]):
        with pytest.raises(CheckpointError, match=ATTACKS[attack].key):
            demo(compose("demo", *command_of("demo", path)))
    assert not canary.exists()


@pytest.mark.parametrize("name", ["evaluate", "predict", "export"])
def test_the_command_line_says_it_in_a_sentence(name: str, planted, canary, command, command_of, tmp_path) -> None:
    commands = {"evaluate": evaluate_command, "predict": predict_command, "export": export_command}
    file, _ = planted(ATTACKS["chain"])
    code, error = command(commands[name].main, *command_of(name, file), f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 2
    assert (
        "planted.ckpt: its configuration has backbone._target_ = 'opsnet.clip.loading.torch" in error.splitlines()[-1]
    )
    assert "Traceback" not in error
    assert not canary.exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"modulation": "../../evil"},
        {"modulation": "{path}"},
        {"modulation": {"_target_": "os.system"}},
        {"recognizer": {"_target_": "os.system"}},
        {"filtering": {"kind": "x"}},
        {"semantic": "masks"},
        {"surprise": 1},
        {"overlap": "${oc.env:HOME}"},
    ],
)
def test_how_a_folders_predictor_was_set_is_checked_too(settings, lenient_model, canary, tmp_path) -> None:
    import json

    Predictor(lenient_model).save_pretrained(tmp_path / "folder")
    evil = tmp_path / "evil.yaml"
    evil.write_text(f"_target_: os.system\ncommand: touch {canary}\n")
    path = tmp_path / "folder" / "config.json"
    content = json.loads(path.read_text())
    content["opsnet"]["settings"] = json.loads(json.dumps(settings).replace("{path}", str(evil.with_suffix(""))))
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        opsnet.load(tmp_path / "folder", device="cpu")
    assert not canary.exists()


def test_training_and_doctor_build_nothing_from_it(train_config, canary, tmp_path) -> None:
    """Resuming and fine-tuning load only weights; the network is built from the user's configuration."""
    hostile: Attack = ATTACKS["os.system"]
    names = Vocabulary.load("scenes")
    module = build_module(train_config(tmp_path / "run"), names)
    checkpoint = {"state_dict": dict(module.state_dict())}
    config = {**copy.deepcopy(module.config), "backbone": {**hostile.value, "command": f"touch {canary}"}}
    add_content(checkpoint, module.model.clip.weights_hash, config)
    torch.save(checkpoint, tmp_path / "hostile.ckpt")
    check_resume(tmp_path / "hostile.ckpt", module.model.clip.weights_hash, streams=1)
    module.on_load_checkpoint(torch.load(tmp_path / "hostile.ckpt", weights_only=True))
    tuned = build_module(train_config(tmp_path / "tuned", f"init_from={tmp_path / 'hostile.ckpt'}"), names)
    assert torch.equal(tuned.model.no_object_embed, module.model.no_object_embed)
    assert tuned.config["backbone"] == module.config["backbone"]  # and passes nothing of it on
    assert not canary.exists()
