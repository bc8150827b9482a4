"""Broken, foreign and hostile files of each family: one sentence with the file and the fix, and nothing is loaded."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mask2former_peer import SMALL, in_detectron2s_layout, random_peer, swin
from published_files import fcclip_state, ovrcoat_state, write_pkl, write_pth
from safetensors.torch import save_file
from torch import Tensor

import opsnet
from opsnet.published.loading import load_published_model
from opsnet.utils.errors import CheckpointError, InputError

State = dict[str, Tensor]
FAMILIES = ("FC-CLIP", "OVRCOAT", "Mask2Former (detectron2)", "Mask2Former (transformers)")
SUFFIXES = {"Mask2Former (detectron2)": ".pkl", "Mask2Former (transformers)": ".safetensors"}
QUERIES = ("query_feat.weight", "queries_features.weight")


@pytest.fixture(scope="module")
def states(convnext) -> dict[str, State]:
    """The weights of one network of each family."""
    peer = dict(random_peer(swin(), **SMALL, num_labels=133).state_dict())
    network = convnext.network
    return dict(zip(FAMILIES, (fcclip_state(network), ovrcoat_state(network), in_detectron2s_layout(peer), peer)))


@pytest.fixture(params=FAMILIES)
def family(request) -> str:
    return request.param


def write(state: State, folder: Path, family: str) -> Path:
    path = folder / f"weights{SUFFIXES.get(family, '.pth')}"
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
        return path
    return (write_pkl if path.suffix == ".pkl" else write_pth)(state, path)


def refused(path: Any, convnext: Any, *parts: str) -> str:
    """The file is refused in one sentence that names it and holds ``parts``; returns the sentence."""
    with pytest.raises(InputError) as caught:
        opsnet.load(path, clip=convnext.config, clip_weights=convnext.clip, device="cpu")
    text = str(caught.value)
    assert str(path) in text and "\n" not in text, text
    for part in parts:
        assert part in text, text
    return text


def test_a_truncated_file(family, states, convnext, tmp_path) -> None:
    path = write(states[family], tmp_path, family)
    path.write_bytes(path.read_bytes()[: -(path.stat().st_size // 3)])
    refused(path, convnext, "cannot be read", "truncated", "download it again")


class Canary:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("suffix", [".pth", ".pkl", ".bin"])
def test_a_file_with_code(suffix, family, states, convnext, tmp_path) -> None:
    path, canary = tmp_path / f"weights{suffix}", tmp_path / "canary"
    arrays = {name: np.zeros(2) for name in states[family]}
    path.write_bytes(pickle.dumps({"model": {**arrays, "zz": Canary(canary)}}))
    refused(path, convnext, "cannot be read", "holds code")
    torch.save({"model": {"zz": Canary(canary)}}, path)  # PyTorch's own format
    refused(path, convnext, "cannot be read", "holds code")
    assert not canary.exists()


def test_code_in_a_folder_of_transformers(convnext, tmp_path) -> None:
    canary = tmp_path / "canary"
    (tmp_path / "config.json").write_text('{"model_type": "mask2former"}')
    torch.save({"model.transformer_module.x": Canary(canary)}, tmp_path / "pytorch_model.bin")
    refused(tmp_path, convnext, "pytorch_model.bin cannot be read", "holds code")
    assert not canary.exists()


def test_a_number_that_is_not_finite(family, states, convnext, tmp_path) -> None:
    name = next(name for name in states[family] if name.endswith(QUERIES))
    spoiled = states[family][name].clone()
    spoiled[0, 0] = float("nan")
    path = write({**states[family], name: spoiled}, tmp_path, family)
    refused(path, convnext, f"{name} contains NaN or infinity", "the file is damaged: download the file again")


@pytest.mark.parametrize("part", ["pixel_decoder.", "query"])
def test_a_missing_decoder(part, family, states, convnext, tmp_path) -> None:
    gone = {"pixel_decoder.": ("pixel_decoder.", "pixel_level_module.decoder."), "query": QUERIES}[part]
    left = {name: t for name, t in states[family].items() if not any(piece in name for piece in gone)}
    assert 0 < len(left) < len(states[family])
    refused(write(left, tmp_path, family), convnext, family, "its decoders are incomplete", "download the file again")


def test_a_single_missing_tensor(family, states, convnext, tmp_path) -> None:
    name = next(name for name in states[family] if name.endswith(("decoder_norm.weight", "decoder.layernorm.weight")))
    left = {other: tensor for other, tensor in states[family].items() if other != name}
    path = write(left, tmp_path, family)
    refused(
        path, convnext, "1 tensors are missing", "'query_decoder.norm.weight' is missing", "download the file again"
    )


def test_a_tensor_of_another_size(family, states, convnext, tmp_path) -> None:
    name = next(name for name in states[family] if name.endswith(("query_embed.weight", "queries_embedder.weight")))
    path = write({**states[family], name: states[family][name][:-1]}, tmp_path, family)
    refused(path, convnext, "1 of", "'query_decoder.query_positions.weight'", "download the file again")


@pytest.mark.parametrize(
    "name",
    ["sem_seg_head.pixel_decoder.input_proj.0.0.weight", "sem_seg_head.pixel_decoder.mask_features.weight",
     "sem_seg_head.pixel_decoder.transformer.encoder.layers.0.self_attn.attention_weights.weight",
     "sem_seg_head.pixel_decoder.transformer.encoder.layers.0.linear1.weight", "void_embedding.weight",
     "sem_seg_head.predictor.query_feat.weight", "sem_seg_head.predictor.level_embed.weight",
     "sem_seg_head.predictor.transformer_ffn_layers.0.linear1.weight", "sem_seg_head.predictor.logit_scale",
     "sem_seg_head.predictor.transformer_self_attention_layers.0.self_attn.in_proj_weight"],
)  # fmt: skip
@pytest.mark.parametrize("change", ["gone", "number", "vector", "transposed", "empty"])
def test_tensors_that_determine_a_size(change, name, states, convnext, monkeypatch) -> None:
    """Whatever they are, the answer is a sentence and never another error."""
    own = states["FC-CLIP"][name]
    number = () if own.shape else (1, 1)  # the learned scale is one
    shape = {"number": number, "vector": (5,), "transposed": (*own.shape[::-1], 2), "empty": (0, 3)}.get(change)
    state = {other: tensor for other, tensor in states["FC-CLIP"].items() if other != name}
    if shape is not None:
        state[name] = torch.zeros(shape)
    monkeypatch.setattr("opsnet.published.loading.read_weights", lambda path: state)
    with pytest.raises(InputError, match=r"weights a\.pth"):
        load_published_model("a.pth", clip=convnext.config, clip_weights=convnext.clip, device="cpu")


def test_weights_of_another_network(convnext, tmp_path) -> None:
    """A CLIP, an image classifier, a file without tensors."""
    import timm

    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "classifier.pth")
    for path in (convnext.clip, tmp_path / "classifier.pth"):
        refused(path, convnext, "of no known model", "Mask2Former (detectron2 or transformers), FC-CLIP or OVRCOAT")
    save_file({}, tmp_path / "empty.safetensors")
    refused(tmp_path / "empty.safetensors", convnext, "hold no tensor: give a state dict")
    (tmp_path / "text.pth").write_text("version https://git-lfs.github.com/spec/v1")
    refused(tmp_path / "text.pth", convnext, "cannot be read")


def test_a_tensor_larger_than_its_file(convnext, tmp_path) -> None:
    """Reading it would need 4 TB: it repeats one number."""
    torch.save({"model": {"void_embedding.weight": torch.zeros(1).expand(10**6, 10**6)}}, tmp_path / "a.pth")
    assert (tmp_path / "a.pth").stat().st_size < 10_000
    refused(tmp_path / "a.pth", convnext, "'void_embedding.weight', which is not a tensor with all its numbers")
    torch.save({"model": {"a": torch.eye(3).to_sparse()}}, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", convnext, "'a', which is not a tensor with all its numbers")


@pytest.mark.parametrize("shard", ["../../outside.safetensors", "/etc/passwd", "model.safetensors.index.json"])
def test_an_index_that_points_outside(shard, states, convnext, tmp_path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    save_file({n: t.contiguous() for n, t in states["FC-CLIP"].items()}, tmp_path / "outside.safetensors")
    (folder / "config.json").write_text('{"model_type": "mask2former"}')
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    refused(folder, convnext, "which is not a .safetensors file in its folder", "download it again")


@pytest.mark.parametrize("text", ["[", "[1]", '{"model_type": "mask2former", "num_attention_heads": "8"}'])
def test_a_folder_with_another_configuration(text, states, convnext, tmp_path) -> None:
    write(states["Mask2Former (transformers)"], tmp_path, "Mask2Former (transformers)").rename(
        tmp_path / "model.safetensors"
    )
    (tmp_path / "config.json").write_text(text)
    refused(tmp_path, convnext, "config.json")


@pytest.mark.parametrize("name", ["no/such/model", "owner/na me", "..", "~nobody/x", "owner/", "a" * 300])
def test_nonsense_instead_of_a_hub_id(name, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("the Hub was asked"))
    with pytest.raises(CheckpointError) as caught:
        opsnet.load(name)
    assert "\n" not in str(caught.value)


def test_a_hub_id_that_no_file_can_be_named() -> None:
    with pytest.raises(CheckpointError, match="could not be downloaded from the Hub"):
        opsnet.load("a" * 300 + "/b")
