"""CLIP weights from a file: what is refused, and what tells two CLIPs apart."""

from __future__ import annotations

import re
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from openai_clip import CONTEXT, small_clip
from torch import Tensor, nn

from opsnet.clip import loading
from opsnet.clip.loading import ClipWeightsError, clip_hash, custom_clip, load_clip, weights_hash
from opsnet.utils.files import checksum


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


@pytest.mark.parametrize(("name", "value"), [("0.bias", torch.nan), ("1.running_var", torch.inf)])
def test_weights_that_are_not_finite_are_refused(name: str, value: float, tmp_path: Path) -> None:
    state = architecture().state_dict()
    state[name][1] = value
    torch.save(state, tmp_path / "clip.pt")
    with pytest.raises(ClipWeightsError, match=rf"clip\.pt: {re.escape(name)} contains NaN or infinity"):
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


def test_a_failed_download_gives_the_callers_hint() -> None:
    """``opsnet.load`` has no clip.model.weights."""

    def offline() -> nn.Module:
        raise ConnectionError("no route to host")

    with pytest.raises(ClipWeightsError, match=r"no route to host\); offline, give clip_weights=PATH$"):
        load_clip(architecture=offline, weights="builtin", hint="give clip_weights=PATH")


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


def test_equal_weights_with_another_activation_are_another_clip() -> None:
    quick, plain = clip_hash(small_clip()), clip_hash(small_clip(quick_gelu=False))
    assert quick.split("-")[0] == plain.split("-")[0] == weights_hash(small_clip())
    assert quick != plain


class OpenAIArchive(nn.Module):
    """Weights as OpenAI publishes them: TorchScript, half precision, three sizes beside the weights."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in state.items():
            place: nn.Module = self
            *path, leaf = name.split(".")
            for part in path:
                if part not in dict(place.named_children()):
                    place.add_module(part, nn.Module())
                place = place.get_submodule(part)
            place.register_buffer(leaf, tensor.half() if tensor.is_floating_point() else tensor)
        for name, size in (("input_resolution", 64), ("context_length", CONTEXT), ("vocab_size", 49408)):
            self.register_buffer(name, torch.tensor(size))

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("openai") / "RN50.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; OpenAI's files are older than that
        torch.jit.trace(OpenAIArchive(small_clip().state_dict()), torch.zeros(1)).save(str(path))
    return path


@pytest.fixture
def openais(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive as one of those whose checksums OpenAI's URLs state."""
    assert len(loading.openai_checksums()) == 9
    monkeypatch.setattr(loading, "openai_checksums", lambda: {checksum(archive)})
    return archive


def test_another_archive_is_refused_because_its_code_would_run(archive: Path) -> None:
    with pytest.raises(ClipWeightsError, match=r"RN50.pt are a TorchScript archive that is none of OpenAI's.*its code"):
        load_clip(architecture=small_clip, weights=archive)


def test_the_file_that_openai_publishes_is_read(openais: Path) -> None:
    loaded = load_clip(architecture=small_clip, weights=openais)
    assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())
    assert same_weights(small_clip().half().float(), loaded)
    tokens = torch.tensor([[49406, 320, 2368, 49407] + [0] * (CONTEXT - 4)])
    torch.testing.assert_close(loaded.encode_text(tokens), small_clip().half().float().encode_text(tokens))


def test_the_file_that_openai_publishes_is_refused_in_a_clip_with_gelu(openais: Path) -> None:
    with pytest.raises(ClipWeightsError, match=r"RN50.pt are OpenAI's, trained with QuickGELU.*model_name=RN50-quick"):
        load_clip(architecture=partial(small_clip, quick_gelu=False), weights=openais)


CUSTOM = {
    "embed_dim": 24,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "image_size": 64},
    "text_cfg": {"context_length": CONTEXT, "width": 16, "heads": 2, "layers": 2},
}


def test_a_clip_without_a_name_is_built_from_its_configuration() -> None:
    built, known = custom_clip(config={**CUSTOM, "quick_gelu": True}), small_clip()
    assert {k: v.shape for k, v in built.state_dict().items()} == {k: v.shape for k, v in known.state_dict().items()}
    assert clip_hash(built).split("-")[1] == clip_hash(known).split("-")[1]  # the same activation
    assert clip_hash(custom_clip(config=CUSTOM)).split("-")[1] != clip_hash(known).split("-")[1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"vision_cfg": {"timm_model_name": "hf-hub:a/b"}},
            "config.vision_cfg.timm_model_name = 'hf-hub:a/b': .* word",
        ),
        ({"text_cfg": {"hf_model_name": "bert"}}, "config.text_cfg.hf_model_name = 'bert': it must be one of "),
        ({"text_cfg": {**CUSTOM["text_cfg"], "heads": 3}}, "no CLIP can be built from its configuration"),  # type: ignore[dict-item]
    ],
)
def test_a_configuration_that_does_not_fit_is_one_sentence(changed: dict, message: str) -> None:
    build = partial(custom_clip, config={**CUSTOM, **changed})
    with pytest.raises(ClipWeightsError, match=message) as caught:
        load_clip(architecture=build, weights="random")
    assert "offline" not in str(caught.value)  # a download would not help
