"""A checkpoint with a NaN: every command and every function refuses it in a sentence, before anything is computed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import opsnet
from opsnet.checkpoint.loading import check_resume
from opsnet.evaluation.run import evaluate
from opsnet.exporting.run import export
from opsnet.prediction.predictor import Predictor
from opsnet.prediction.run import predict
from opsnet.training.run import train
from opsnet.utils.errors import CheckpointError
from opsnet.utils.files import checksum

REFUSAL = r"contains NaN or infinity, so the training has diverged: give an earlier checkpoint, or train again"


def poisoned(trained, path: Path, value: float) -> Path:
    """The trained checkpoint with one weight of one layer replaced, written to ``path``."""
    checkpoint = torch.load(trained.checkpoint, weights_only=False)
    name = next(name for name in checkpoint["state_dict"] if name.endswith("no_object_embed"))
    checkpoint["state_dict"][name][3] = value
    torch.save(checkpoint, path)
    return path


@pytest.fixture(scope="module")
def diverged(trained, tmp_path_factory) -> Path:
    return poisoned(trained, tmp_path_factory.mktemp("diverged") / "last.ckpt", torch.nan)


def demo(config: Any) -> None:
    pytest.importorskip("gradio", reason="the page needs the extra demo")
    from opsnet.web_demo.run import demo as serve

    serve(config)


USES: dict[str, tuple[Callable[[Any], Any], str, tuple[str, ...]]] = {
    "predict": (predict, "checkpoint", ("image={image}", "vocabulary=sea")),
    "label": (predict, "checkpoint", ("image={image}", "masks={image}", "vocabulary=sea")),
    "evaluate": (evaluate, "checkpoint", ()),
    "recognizer of another": (evaluate, "recognizer_from", ("checkpoint={good}",)),
    "export": (export, "checkpoint", ("format=pt2",)),
    "demo": (demo, "checkpoint", ()),
    "resume": (train, "resume", ()),
    "init_from": (train, "init_from", ()),
}


@pytest.mark.parametrize("use", USES)
def test_every_command_refuses_weights_that_are_not_finite(
    use: str, diverged, trained, compose, world_overrides, tmp_path
) -> None:
    task, key, more = USES[use]
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.png")
    command = {"label": "predict", "recognizer of another": "evaluate", "resume": "train", "init_from": "train"}
    output = tmp_path / ("out.pt2" if use == "export" else "out")
    given = [word.format(image=tmp_path / "photo.png", good=trained.checkpoint) for word in more]
    needs_data = world_overrides if command.get(use, use) in ("train", "evaluate") else []
    config = compose(command.get(use, use), *needs_data, f"{key}={diverged}", *given, f"output={output}")
    with pytest.raises(CheckpointError, match=REFUSAL):
        task(config)
    assert not [path for path in tmp_path.rglob("*.png") if path.name != "photo.png"]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_functions_refuse_weights_that_are_not_finite(value: float, trained, tmp_path) -> None:
    diverged = poisoned(trained, tmp_path / "last.ckpt", value)
    for load in (
        lambda: opsnet.load(diverged, device="cpu"),
        lambda: check_resume(diverged, "any", streams=1),
    ):
        with pytest.raises(CheckpointError, match=REFUSAL):
            load()


def test_a_saved_folder_with_weights_that_are_not_finite_is_refused(lenient_model, tmp_path) -> None:
    folder = tmp_path / "folder"
    Predictor(lenient_model).save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    next(weights[name] for name in weights if weights[name].is_floating_point()).view(-1)[0] = torch.nan
    save_file(weights, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    config["opsnet"]["sha256"]["model.safetensors"] = checksum(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=REFUSAL):
        opsnet.load(folder, device="cpu")
