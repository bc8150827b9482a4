"""A folder of save_pretrained: equal results after moving it, and modified files are refused."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest
import torch

import opsnet
from opsnet.checkpoint.folder import is_hub_id
from opsnet.inference.trained_model import TrainedModel
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction.predictor import Predictor
from opsnet.utils.errors import CheckpointError, InputError

WORDS = "red circle, green stripes, grass"


@pytest.fixture(scope="module")
def saved(lenient_model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "first"
    filtering = MaskFiltering(kind="iou", threshold=0)
    Predictor(lenient_model, modulation="alpha=7,beta=0.25", filtering=filtering).save_pretrained(folder)
    return folder


@pytest.fixture
def moved(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "moved"))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_moved_and_offline_it_gives_the_same_maps(lenient_model, moved, sample_images, offline, monkeypatch) -> None:
    monkeypatch.setenv("OPSNET_DATA", "/nowhere")
    filtering = MaskFiltering(kind="iou", threshold=0)
    first = Predictor(lenient_model, modulation="alpha=7,beta=0.25", filtering=filtering)
    again = opsnet.load(moved, device="cpu")
    assert (again.size, again.overlap) == (first.size, first.overlap)
    a, b = (p(sample_images[0], WORDS, top_k=3) for p in (first, again))
    assert len(a.segments) > 0
    assert torch.equal(a.ids, b.ids)
    assert a.segments == b.segments


def test_a_second_save_is_the_same_folder(moved, tmp_path) -> None:
    opsnet.load(moved, device="cpu").save_pretrained(tmp_path / "second")
    assert {p.name for p in moved.iterdir()} == {"config.json", "model.safetensors", "clip.safetensors", "README.md"}
    for path in moved.iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


@pytest.mark.parametrize("name", ["model.safetensors", "clip.safetensors"])
def test_a_modified_byte_is_refused(name, moved) -> None:
    raw = bytearray((moved / name).read_bytes())
    raw[-1] ^= 1
    (moved / name).write_bytes(raw)
    with pytest.raises(CheckpointError, match=rf"{name} was modified or damaged \(its SHA-256 is not config\.json's\)"):
        opsnet.load(moved, device="cpu")
    (moved / name).unlink()
    with pytest.raises(CheckpointError, match=rf"{name} does not exist: copy the whole folder"):
        opsnet.load(moved, device="cpu")


def test_without_clip_it_is_asked_for_and_another_is_refused(lenient_model, world, tmp_path) -> None:
    Predictor(lenient_model).save_pretrained(tmp_path, include_clip=False)
    assert not (tmp_path / "clip.safetensors").exists()
    assert opsnet.load(tmp_path, device="cpu", clip_weights=world.clip).train_vocabulary.name == "scenes"
    with pytest.raises(CheckpointError, match=r"was trained with CLIP weights \w{12}-\w{6}, .* give clip_weights=PATH"):
        opsnet.load(tmp_path, device="cpu", clip_weights=world.other_clip)


@pytest.mark.parametrize(
    ("modulation", "alpha"), [("alpha=7.0,beta=0.25", 7), ("full", 10), ("query_only", None), ("fusion_only", 10)]
)
def test_a_folder_from_before_recognizers_were_stored_has_the_name_of_one(modulation, alpha, moved) -> None:
    content = json.loads((moved / "config.json").read_text())
    del content["opsnet"]["config"]["inference"]["recognizer"]
    settings = content["opsnet"]["settings"]
    del settings["recognizer"]
    settings["modulation"] = modulation
    (moved / "config.json").write_text(json.dumps(content))
    predictor = opsnet.load(moved, device="cpu")
    assert getattr(predictor.recognizer, "alpha", None) == alpha
    assert predictor.filtering.kind == "iou"


def test_how_semantic_maps_are_made_is_saved(lenient_model, moved, tmp_path) -> None:
    Predictor(lenient_model, semantic="proposals").save_pretrained(tmp_path / "new")
    assert opsnet.load(tmp_path / "new", device="cpu").semantic == "proposals"
    content = json.loads((moved / "config.json").read_text())  # a folder from before it was stored
    del content["opsnet"]["settings"]["semantic"]
    content["opsnet"]["config"]["inference"].pop("semantic", None)
    (moved / "config.json").write_text(json.dumps(content))
    assert opsnet.load(moved, device="cpu").semantic == "panoptic"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"opsnet": {}}', '{"opsnet": {"sha256": {}, "config": 3}}'])
def test_another_config_is_refused(text, moved) -> None:
    (moved / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json was not written by save_pretrained"):
        opsnet.load(moved, device="cpu")


def test_what_cannot_be_saved(lenient_model, tmp_path) -> None:
    untrained = TrainedModel(lenient_model.model, lenient_model.train_vocabulary)
    with pytest.raises(CheckpointError, match="no trained OPSNet weights"):
        Predictor(untrained).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="a recognizer of class function cannot be saved"):
        Predictor(lenient_model, modulation=lambda *_: None).save_pretrained(tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_the_hub_is_asked_for_owner_and_name(monkeypatch, moved, offline) -> None:
    asked = []

    def download(name: str, **how: object) -> str:
        asked.append(name)
        return str(moved)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert opsnet.load("someone/opsnet-scenes", device="cpu").recognizer.alpha == 7
    assert asked == ["someone/opsnet-scenes"]


def test_an_id_that_is_nowhere(offline) -> None:
    with pytest.raises(
        CheckpointError, match="someone/nothing is not a folder and could not be downloaded from the Hub"
    ):
        opsnet.load("someone/nothing")


def test_ids_of_the_hub() -> None:
    assert is_hub_id("owner/my-model.v2")
    assert not any(map(is_hub_id, ("owner", "a/b/c", "/a/b", "./a", "runs/last.ckpt", "../a")))


def test_clip_weights_beside_the_folders_own_clip_are_told_to_be_unused(moved, world, caplog) -> None:
    loaded = opsnet.load(moved, device="cpu", clip_weights=world.other_clip)
    assert f"has its own CLIP, clip.safetensors: clip_weights={world.other_clip} is not used" in caplog.text
    assert loaded.trained.model.clip.weights_hash == opsnet.load(moved, device="cpu").trained.model.clip.weights_hash
    assert caplog.text.count("is not used") == 1
