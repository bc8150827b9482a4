"""Backbone: strides and channels of random timm models, and errors about a wrong name or file."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from opsnet.segmenter.backbone import Backbone, BackboneError
from opsnet.utils.configuration import config_dir

RESNET = {"name": "resnet18", "model_args": {"layers": [1, 1, 1, 1], "channels": [8, 12, 16, 20], "stem_width": 4}}
SWIN = {
    "name": "swin_tiny_patch4_window7_224",
    "model_args": {"depths": (1, 1, 1, 1), "embed_dim": 16, "num_heads": (1, 2, 2, 4), "strict_img_size": False},
}


def shapes(maps: list[torch.Tensor]) -> list[tuple[int, ...]]:
    return [tuple(m.shape) for m in maps]


def test_the_scenes_backbone() -> None:
    backbone = instantiate(OmegaConf.load(config_dir() / "backbone" / "scenes.yaml"))
    assert backbone.strides == (2, 4, 8, 16)
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, 32, 48))
    assert shapes(maps) == [(1, c, 32 // s, 48 // s) for c, s in zip(backbone.channels, (2, 4, 8, 16))]
    assert sum(p.numel() for p in backbone.parameters()) < 1_000_000


def test_a_resnet_without_its_stem() -> None:
    backbone = Backbone(**RESNET, out_indices=[1, 2, 3, 4])
    assert backbone.channels == (8, 12, 16, 20)
    assert backbone.strides == (4, 8, 16, 32)
    with torch.no_grad():
        maps = backbone(torch.rand(2, 3, 64, 32))
    assert shapes(maps) == [(2, 8, 16, 8), (2, 12, 8, 4), (2, 16, 4, 2), (2, 20, 2, 1)]


def test_all_stages_by_default() -> None:
    assert Backbone(**RESNET).strides == (2, 4, 8, 16, 32)


# For 64 pixels the first map of a Swin with 16 channels is 16 x 16 x 16, so its shape does not determine the order.
@pytest.mark.parametrize(("height", "width"), [(56, 84), (64, 64), (64, 32)])
def test_a_swin_returns_channels_first(height: int, width: int) -> None:
    torch.manual_seed(0)
    backbone = Backbone(**SWIN).eval()
    assert backbone.strides == (4, 8, 16, 32)
    image = torch.rand(1, 3, height, width)
    last_of_all = backbone.model((image - backbone.mean) / backbone.std)
    with torch.no_grad():
        maps = backbone(image)
    sizes = [(-(-height // s), -(-width // s)) for s in backbone.strides]
    assert shapes(maps) == [(1, c, *size) for c, size in zip((16, 32, 64, 128), sizes)]
    for m, last in zip(maps, last_of_all, strict=True):
        assert torch.equal(m[0, 5, 1, 0], last[0, 1, 0, 5])


def test_every_map_of_a_swin_is_normalised() -> None:
    torch.manual_seed(0)
    backbone = Backbone(**SWIN, output_norms=True).eval()
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, 64, 96))
    for m in maps:
        torch.testing.assert_close(m.mean(1), torch.zeros_like(m[:, 0]), atol=1e-5, rtol=0)
        torch.testing.assert_close(m.std(1, unbiased=False), torch.ones_like(m[:, 0]), atol=1e-2, rtol=0)


@pytest.mark.parametrize("model", [RESNET, SWIN, {"name": "tf_efficientnet_lite0"}], ids=lambda m: m["name"])
def test_frozen_stages_get_no_gradient(model: dict) -> None:
    torch.manual_seed(0)
    indices = None if model is SWIN else [1, 2, 3, 4]
    backbone = Backbone(**model, out_indices=indices, frozen_stages=2).train()
    maps = backbone(torch.rand(2, 3, 64, 64))
    assert [m.requires_grad for m in maps] == [False, False, True, True]
    trained = [p.requires_grad for p in backbone.parameters()]
    assert sorted(trained) == trained  # no later one is frozen
    assert 0.05 < sum(trained) / len(trained) < 0.95


def test_more_frozen_stages_than_maps_are_refused() -> None:
    with pytest.raises(BackboneError, match="frozen_stages is 5, but the backbone has 4 maps"):
        Backbone(**RESNET, out_indices=[1, 2, 3, 4], frozen_stages=5)


def test_frozen_norms_are_not_updated() -> None:
    torch.manual_seed(0)
    frozen, moving = Backbone(**RESNET, frozen_norms=True).train(), Backbone(**RESNET).train()
    before = {name: buffer.clone() for name, buffer in frozen.named_buffers()}
    statistics = moving.model.bn1.running_mean.clone()
    for backbone in (frozen, moving):
        backbone(torch.rand(2, 3, 64, 64))
    assert all(torch.equal(buffer, before[name]) for name, buffer in frozen.named_buffers())
    assert not torch.equal(moving.model.bn1.running_mean, statistics)
    assert not any("bn" in name for name, _ in frozen.named_parameters())


@pytest.mark.parametrize("sizes", [RESNET, SWIN], ids=["resnet", "swin"])
def test_checkpointing_changes_no_gradient(sizes) -> None:
    gradients, kept = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        backbone = Backbone(**sizes, checkpointing=checkpointing, frozen_norms=True).train()
        for module in backbone.modules():  # stochastic depth would differ the second time
            if hasattr(module, "drop_prob"):
                module.drop_prob = 0.0
        numbers = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal numbers
            numbers += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            maps = backbone(torch.rand(1, 3, 64, 64))
        sum(m.square().sum() for m in maps).backward()
        gradients.append([p.grad for p in backbone.parameters()])
        kept.append(numbers)
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)
    if sizes is SWIN:  # per block; of a small ResNet most is stored, as timm's stages are coarse
        assert kept[1] < 0.7 * kept[0]


def test_images_are_normalised() -> None:
    backbone = Backbone(**RESNET, mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0))
    seen: list[torch.Tensor] = []
    backbone.model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    backbone(torch.tensor([1.0, 0.75, 0.5]).view(1, 3, 1, 1).expand(2, 3, 32, 32))
    assert seen[0][0, :, 3, 4].tolist() == [1.0, 0.5, 0.25]
    assert not {"mean", "std"} & set(backbone.state_dict())


def test_an_unknown_name_is_reported_with_its_key() -> None:
    with pytest.raises(BackboneError, match=r"timm has no model 'resnet5' \(backbone.name\)"):
        Backbone(name="resnet5")


def test_a_missing_file_is_reported_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=f"{tmp_path / 'no.pth'}.* do not exist: check the path"):
        Backbone(**RESNET, weights=tmp_path / "no.pth")


def test_weights_come_from_the_file(tmp_path: Path) -> None:
    saved = Backbone(**RESNET).model.state_dict()
    torch.save({name: torch.full_like(tensor, 0.125) for name, tensor in saved.items()}, tmp_path / "own.pth")
    loaded = Backbone(**RESNET, weights=tmp_path / "own.pth")
    assert all((parameter == 0.125).all() for parameter in loaded.parameters())


def test_the_error_about_an_unsuitable_file_names_the_option(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(7, 3, 7, 7)}, tmp_path / "other.pth")
    with pytest.raises(
        BackboneError, match=r"(?s)'resnet18': weights could not be .*size mismatch.*\+backbone.weights="
    ):
        Backbone(**RESNET, weights=tmp_path / "other.pth")


def test_arguments_that_no_network_can_have_are_reported() -> None:
    with pytest.raises(BackboneError, match=r"'resnet18' cannot be built \(.*\): correct backbone\.model_args"):
        Backbone(**{**RESNET, "model_args": {"stem_width": -4, "stem_type": "deep"}})


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_file_that_is_no_checkpoint_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(BackboneError, match="'resnet18': weights could not be loaded"):
        Backbone(**RESNET, weights=tmp_path / "bad.pth")


@pytest.mark.parametrize("kept", [0, 2, -3])
def test_weights_of_another_model_are_refused(kept: int, tmp_path: Path) -> None:
    state = {name: torch.randn(tensor.shape) for name, tensor in Backbone(**RESNET).model.state_dict().items()}
    same = dict(list(state.items())[:kept])
    renamed = {f"encoder.{name}": tensor for name, tensor in state.items() if name not in same}
    torch.save({**same, **{name: tensor + 1 for name, tensor in renamed.items()}}, tmp_path / "foreign.pth")
    with pytest.raises(
        BackboneError,
        match=r"foreign\.pth \(backbone\.weights\) are of another model: they have values for \d+ of \d+ weights, and "
        r"none for \S+; give the weights of the timm model backbone\.name",
    ):
        Backbone(**RESNET, weights=tmp_path / "foreign.pth")


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = Backbone(**RESNET).model.state_dict()
    state["bn1.running_mean"][2] = torch.nan
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(BackboneError, match=r"nan\.pth .*: bn1\.running_mean contains NaN or infinity"):
        Backbone(**RESNET, weights=tmp_path / "nan.pth")


@pytest.mark.parametrize("change", ["half", "classifier", "without counters"])
def test_weights_of_the_same_model_in_other_forms_are_accepted(change: str, tmp_path: Path) -> None:
    state = {name: torch.randn(tensor.shape) for name, tensor in Backbone(**RESNET).model.state_dict().items()}
    changed = {
        "half": {name: tensor.half() for name, tensor in state.items()},
        "classifier": {**state, "fc.weight": torch.zeros(1000, 20), "fc.bias": torch.zeros(1000)},
        "without counters": {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
    }[change]
    torch.save(changed, tmp_path / "own.pth")
    loaded = Backbone(**RESNET, weights=tmp_path / "own.pth").model.state_dict()
    assert torch.equal(loaded["layer4.0.conv2.weight"], changed["layer4.0.conv2.weight"].float())


def test_weights_of_a_swin_may_be_for_another_window(tmp_path: Path) -> None:
    saved = timm.create_model(SWIN["name"], **SWIN["model_args"]).state_dict()
    torch.save(saved, tmp_path / "window7.pth")
    args = {**SWIN["model_args"], "window_size": 4}
    loaded = Backbone(name=SWIN["name"], model_args=args, weights=tmp_path / "window7.pth").model.state_dict()
    assert torch.equal(loaded["layers_3.blocks.0.mlp.fc1.weight"], saved["layers.3.blocks.0.mlp.fc1.weight"])
    assert loaded["layers_3.blocks.0.attn.relative_position_bias_table"].shape == (49, 4)
