"""One function opens every kind of file, folder and Hub id."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
from mask2former_peer import SMALL, random_peer, swin
from published_files import fcclip_state, write_pth

import opsnet
from opsnet.published.open_model import open_model
from opsnet.utils.errors import CheckpointError, InputError

HUB_ID = "facebook/mask2former-swin-tiny-coco-panoptic"
COMMIT = "0" * 40


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def peer():
    return random_peer(swin(), **SMALL, num_labels=133)


def snapshot(cache: Path) -> Path:
    """The folder of a downloaded model in the Hub's cache."""
    model = cache / f"models--{HUB_ID.replace('/', '--')}"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(COMMIT)
    return model / "snapshots" / COMMIT


@pytest.mark.parametrize("form", ["model.safetensors", "shards", "pytorch_model.bin"])
def test_a_model_in_the_hubs_cache_opens_by_its_id(form, peer, convnext, tmp_path, offline, monkeypatch) -> None:
    """Two of the published Mask2Formers have no safetensors; a large one could be in several shards."""
    folder = snapshot(tmp_path)
    peer.save_pretrained(folder, max_shard_size="20MB" if form == "shards" else "1GB")
    if form == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
        torch.save(peer.state_dict(), folder / form)
    assert len(list(folder.glob("*.safetensors"))) == {"shards": 7, "pytorch_model.bin": 0}.get(form, 1)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    predictor = opsnet.load(HUB_ID, clip=convnext.config, clip_weights=convnext.clip, device="cpu")
    assert predictor.trained.config["backbone"]["name"] == "swin_tiny_patch4_window7_224"
    level = peer.state_dict()["model.transformer_module.level_embed.weight"]
    assert torch.equal(predictor.trained.model.query_decoder.level_embed.weight, level)
    assert type(predictor.recognizer).__name__ == "ClipOnly"


def test_pytorchs_file_is_downloaded_only_without_safetensors(peer, convnext, tmp_path, monkeypatch) -> None:
    asked = []

    def download(name: str, *, allow_patterns: list[str]) -> str:
        asked.append(allow_patterns)
        if "pytorch_model.bin" in allow_patterns:
            torch.save(peer.state_dict(), tmp_path / "pytorch_model.bin")
        else:
            peer.config.save_pretrained(tmp_path)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    opsnet.load(HUB_ID, clip=convnext.config, clip_weights=convnext.clip, device="cpu")
    assert [("pytorch_model.bin" in patterns) for patterns in asked] == [False, True]
    assert all("config.json" in patterns for patterns in asked)
    (tmp_path / "pytorch_model.bin").unlink()
    peer.save_pretrained(tmp_path)
    asked.clear()
    opsnet.load(HUB_ID, clip=convnext.config, clip_weights=convnext.clip, device="cpu")
    assert len(asked) == 1


def test_offline_the_message_says_what_to_fetch(offline, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError) as caught:
        opsnet.load(HUB_ID)
    text = str(caught.value)
    assert text.startswith(f"{HUB_ID} is not a folder and could not be downloaded from the Hub (")
    assert text.endswith(
        "check the name, the network and your access, or download config.json and model.safetensors (or "
        f"pytorch_model.bin) from https://huggingface.co/{HUB_ID} into a folder elsewhere and give that folder"
    )
    assert "\n" not in text


@pytest.mark.parametrize("name", ["weights/model_final.pkl", "a/b/c", "nothing.pth", "models/file.safetensors"])
def test_a_missing_file_is_not_looked_for_on_the_hub(name, offline) -> None:
    with pytest.raises(CheckpointError, match=rf"{name} \(checkpoint\) does not exist: give a \.ckpt of opsnet-train"):
        open_model(name, key="checkpoint")


def test_a_checkpoint_of_training_is_told_by_its_content(lenient_checkpoint, convnext, tmp_path) -> None:
    renamed = tmp_path / "anything.pth"
    renamed.write_bytes(lenient_checkpoint.read_bytes())
    assert open_model(renamed, device="cpu").train_vocabulary.name == "scenes"
    misnamed = write_pth(fcclip_state(convnext.network), tmp_path / "fcclip.ckpt")
    with pytest.raises(CheckpointError, match=r"fcclip\.ckpt is not an OPSNet checkpoint"):
        open_model(misnamed, device="cpu")


@pytest.mark.parametrize("option", [{"clip": "rn50"}, {"train_vocabulary": "coco"}])
def test_options_of_published_weights_are_refused_for_a_checkpoint(option, lenient_checkpoint) -> None:
    with pytest.raises(InputError, match=r"last\.ckpt has its own CLIP and training names: .* leave them out"):
        open_model(lenient_checkpoint, device="cpu", **option)


def test_a_folder_without_a_network(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(CheckpointError, match=r"has no config\.json: give a folder of save_pretrained"):
        open_model(tmp_path)
