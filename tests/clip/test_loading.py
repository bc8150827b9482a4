"""CLIP weights from a file: what is refused, and what tells two sets of weights apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from opsnet.clip.loading import ClipWeightsError, load_clip, weights_hash


def architecture() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.Dropout())


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, b.state_dict()[name]) for name, x in a.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "module."])  # open_clip saves "module." from distributed training
@pytest.mark.parametrize("nested", [True, False])
def test_a_checkpoint_comes_back_as_it_was_saved(tmp_path: Path, nested: bool, prefix: str) -> None:
    saved = architecture()
    state = {prefix + name: tensor for name, tensor in saved.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3} if nested else state, tmp_path / "clip.pt")
    loaded = load_clip(architecture=architecture, weights=tmp_path / "clip.pt")
    assert same_weights(saved, loaded)
    assert weights_hash(saved) == weights_hash(loaded)


@pytest.mark.parametrize("weights", ["random", "builtin"])
def test_without_a_file_the_architecture_brings_the_weights(weights: str) -> None:
    built = architecture()
    assert load_clip(architecture=lambda: built, weights=weights) is built


@pytest.mark.parametrize("weights", ["random", "file"])
def test_the_model_is_frozen(tmp_path: Path, weights: str) -> None:
    torch.save(architecture().state_dict(), tmp_path / "file")
    model = load_clip(architecture=architecture, weights=weights if weights == "random" else tmp_path / weights)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(module.training for module in model.modules())


def test_a_missing_file_is_named_with_the_hint_before_anything_is_built(tmp_path: Path) -> None:
    def unbuildable() -> nn.Module:
        raise AssertionError

    with pytest.raises(ClipWeightsError, match=f"{tmp_path / 'no.pt'} do not exist: run opsnet-train-clip first"):
        load_clip(architecture=unbuildable, weights=tmp_path / "no.pt", hint="run opsnet-train-clip first")


def test_a_missing_file_without_hint_names_the_key(tmp_path: Path) -> None:
    with pytest.raises(ClipWeightsError, match="give clip.model.weights=PATH"):
        load_clip(architecture=architecture, weights=tmp_path / "no.pt")


def test_keys_that_do_not_fit_are_named(tmp_path: Path) -> None:
    state = architecture().state_dict()
    state["9.weight"] = state.pop("0.weight")
    torch.save(state, tmp_path / "clip.pt")
    with pytest.raises(ClipWeightsError) as error:
        load_clip(architecture=architecture, weights=tmp_path / "clip.pt")
    for part in (str(tmp_path / "clip.pt"), "clip.model.architecture", "0.weight", "9.weight"):
        assert part in str(error.value)


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Conv2d(3, 5, 2), nn.BatchNorm2d(5)).state_dict(), tmp_path / "clip.pt")
    with pytest.raises(ClipWeightsError, match="size mismatch"):
        load_clip(architecture=architecture, weights=tmp_path / "clip.pt")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clip.pt").write_bytes(content)
    with pytest.raises(ClipWeightsError, match=str(tmp_path / "clip.pt")):
        load_clip(architecture=architecture, weights=tmp_path / "clip.pt")


def test_a_file_that_holds_no_weights_is_named(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "clip.pt")
    with pytest.raises(ClipWeightsError, match=str(tmp_path / "clip.pt")):
        load_clip(architecture=architecture, weights=tmp_path / "clip.pt")


def test_a_failed_download_says_what_helps_offline() -> None:
    def offline() -> nn.Module:
        raise ConnectionError("no route to host")

    with pytest.raises(ClipWeightsError, match=r"ConnectionError: no route to host.*clip.model.weights=PATH"):
        load_clip(architecture=offline, weights="builtin")


def test_a_long_reason_is_cut_before_the_fix() -> None:
    def offline() -> nn.Module:
        raise ConnectionError("tried a mirror\n" * 100)

    with pytest.raises(ClipWeightsError, match=r"tried a.*\.\.\.\); offline, give clip.model.weights=PATH") as caught:
        load_clip(architecture=offline, weights="builtin")
    assert len(str(caught.value)) < 600


def test_the_hash_is_twelve_digits_of_names_and_values() -> None:
    model = architecture()
    first = weights_hash(model)
    assert len(first) == 12
    int(first, 16)
    assert weights_hash(model) == first
    # The same values under other names are another model.
    assert weights_hash(nn.Sequential(nn.Identity(), *model)) != first


@pytest.mark.parametrize("name", ["0.weight", "0.bias", "1.running_mean", "1.num_batches_tracked"])
def test_the_hash_changes_with_every_weight_and_statistic(name: str) -> None:
    model = architecture()
    first = weights_hash(model)
    model.state_dict()[name].view(-1)[-1] += 1
    assert weights_hash(model) != first


def test_the_hash_knows_nothing_of_memory_layout_or_gradients() -> None:
    model = architecture()
    first = weights_hash(model)
    assert weights_hash(model.to(memory_format=torch.channels_last).requires_grad_(False).eval()) == first


def test_the_hash_of_a_model_in_bfloat16() -> None:
    assert len(weights_hash(architecture().bfloat16())) == 12
