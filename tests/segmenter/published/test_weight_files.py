"""Files of weights: every format gives the same tensors, and no code in a file is executed."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from opsnet.segmenter.published.checkpoints import WeightsError
from opsnet.segmenter.published.weight_files import read_weights

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2]), "c": torch.tensor(0.5)}


def same(found: dict[str, Tensor]) -> bool:
    return found.keys() == WEIGHTS.keys() and all(torch.equal(found[k], v) for k, v in WEIGHTS.items())


def write_safetensors(folder: Path) -> Path:
    save_file(WEIGHTS, folder / "w.safetensors")
    return folder / "w.safetensors"


def write_folder(folder: Path) -> Path:
    save_file(WEIGHTS, folder / "model.safetensors")
    return folder


def write_shards(folder: Path) -> Path:
    shards = {"a.weight": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}
    for shard in set(shards.values()):
        save_file({k: v for k, v in WEIGHTS.items() if shards[k] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    return folder


def write_torch(folder: Path) -> Path:
    torch.save({"model": WEIGHTS, "iteration": 7}, folder / "w.pth")
    return folder / "w.pth"


def write_detectron2(folder: Path, protocol: int) -> Path:
    arrays = {name: tensor.numpy() for name, tensor in WEIGHTS.items()}
    content = {"model": arrays, "__author__": "someone", "matching_heuristics": True}
    (folder / "w.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    return folder / "w.pkl"


@pytest.mark.parametrize("write", [write_safetensors, write_folder, write_shards, write_torch])
def test_every_format_gives_the_same_tensors(write, tmp_path) -> None:
    assert same(read_weights(write(tmp_path)))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_detectron2s_pickles_of_every_protocol(protocol, tmp_path) -> None:
    assert same(read_weights(write_detectron2(tmp_path, protocol)))


class Canary:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("name", ["w.pkl", "w.pth", "w.bin"])
def test_code_in_a_file_is_refused_and_not_run(name, tmp_path) -> None:
    canary = tmp_path / "canary"
    content = {"model": {"a": np.zeros(2), "b": Canary(canary)}}
    (tmp_path / name).write_bytes(pickle.dumps(content))
    with pytest.raises(WeightsError, match=rf"{name} cannot be read .*holds code") as error:
        read_weights(tmp_path / name)
    assert "weights_only" not in str(error.value)  # PyTorch's advice is to run the code
    assert not canary.exists()
    pickle.loads((tmp_path / name).read_bytes())  # the plain unpickler does run it, so the test can fail
    assert canary.exists()


@pytest.mark.parametrize("write", [write_safetensors, write_torch, lambda folder: write_detectron2(folder, 2)])
def test_a_truncated_file(write, tmp_path) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(WeightsError, match="truncated"):
        read_weights(path)


@pytest.mark.parametrize(("content", "message"), [([1, 2], "hold a list"), ({"a": "text"}, "hold no tensor")])
def test_a_file_without_tensors(content, message, tmp_path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path / "w.pth")


def test_missing_files(tmp_path) -> None:
    with pytest.raises(WeightsError, match="do not exist: check the path"):
        read_weights(tmp_path / "no.pth")
    with pytest.raises(WeightsError, match=r"holds no model\.safetensors"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"weight_map": {"a": "model.safetensors.index.json"}}', "names 'model.safetensors.index.json', which is not"),
        ('{"weight_map": {"a": "."}}', r"names '\.', which is not a .safetensors file in its folder"),
        ('{"weight_map": {"a": "../other.safetensors"}}', r"names '\.\./other.safetensors'"),
        ('{"weight_map": {"a": 3}}', "names 3"),
        ('{"weight_map": {"a": ["x"]}}', "is not an index of weights"),
        ('{"weight_map": 3}', "is not an index of weights"),
        ("{", "is not an index of weights"),
        ("[" * 100_000, "is not an index of weights"),
    ],
)
def test_an_index_that_names_itself_or_other_folders(text: str, message: str, tmp_path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path)
