"""Building from a stored configuration uses only files and folders of this machine."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import pytest
import torch

from opsnet.checkpoint.allowed_targets import IN_FOLDER
from opsnet.checkpoint.stored_network import build_model, build_recognizer
from opsnet.clip.loading import ClipWeightsError
from opsnet.recognition.modulation import FixedEnsemble
from opsnet.utils.errors import CheckpointError


class Writes(torch.nn.Module):
    """TorchScript that creates a file when it is loaded."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path, self.held = path, torch.zeros(1, dtype=torch.uint8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path, self.training = state
        self.held = torch.from_file(self.path, shared=True, size=4, dtype=torch.uint8)  # makes the file


def archive(folder: Path, canary: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.script(Writes(str(canary))).save(str(folder / "evil.pt"))
    return folder / "evil.pt"


def test_an_archive_that_could_run_is_not_loaded(stored, canary, tmp_path) -> None:
    config = copy.deepcopy(stored)
    path = archive(tmp_path, canary)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(str(path))
    assert canary.exists()  # it does run: whoever loads it has to know it
    canary.unlink()
    config["clip"]["model"]["weights"] = str(path)
    with pytest.raises(ClipWeightsError, match=r"evil\.pt are a TorchScript archive that is none of OpenAI's"):
        build_model(config, "mine")
    config["clip"]["model"]["weights"] = "random"
    with pytest.raises(ClipWeightsError, match=r"evil\.pt are a TorchScript archive"):
        build_model(config, "mine", clip_weights=path)  # that the user names it does not make it trusted
    assert not canary.exists()


def test_the_file_of_a_folder_is_not_looked_for_elsewhere(stored, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / IN_FOLDER).write_text("of somebody")
    config = copy.deepcopy(stored)
    config["clip"]["model"]["weights"] = IN_FOLDER
    with pytest.raises(ClipWeightsError, match="mine does not contain the weights of its CLIP: give clip_weights=PATH"):
        build_model(config, "mine")


def test_texts_are_cached_where_this_machine_says(stored, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OPSNET_CACHE", str(tmp_path / "here"))
    config = copy.deepcopy(stored)
    config["clip"]["text_cache"] = str(tmp_path / "there")
    cache = build_model(config, "mine").clip.text_encoder.cache
    assert cache.folder == tmp_path / "here" / "text_banks"


def test_a_recognizer_from_class_and_arguments() -> None:
    target = "opsnet.recognition.modulation.FixedEnsemble"
    recognizer = build_recognizer({"_target_": target, "clip_weight": 2}, "mine")
    assert type(recognizer) is FixedEnsemble
    assert recognizer.clip_weight == 2
    for config, message in (
        (
            {"_target_": target, "weight": 1},
            r"inference\.recognizer\.weight = 1: .*FixedEnsemble accepts no such argument",
        ),
        ({"_target_": "opsnet.model.OPSNet"}, r"inference\.recognizer\._target_ = 'opsnet\.model\.OPSNet'"),
        (None, r"inference\.recognizer = None"),
    ):
        with pytest.raises(CheckpointError, match=message):
            build_recognizer(config, "mine")
