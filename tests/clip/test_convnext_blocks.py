"""The stages of a CLIP ConvNeXt, run block by block, give timm's maps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from timm.models.convnext import ConvNeXt

from opsnet.clip import trunks
from opsnet.clip.trunks import ConvNeXtTrunk

SIZES: dict[str, Any] = {"depths": (2, 1, 2, 1), "dims": (8, 16, 24, 32), "num_classes": 0}


def _trunk(**options: Any) -> Any:
    torch.manual_seed(0)
    trunk = ConvNeXt(**SIZES, **options).eval()
    with torch.no_grad():
        for parameter in trunk.parameters():  # the scales are 1e-6 at first and would hide an MLP that is wrong
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return trunk


@pytest.mark.parametrize(
    ("options", "plain"),
    [
        ({"conv_mlp": False}, True),
        ({"conv_mlp": True}, False),
        ({"conv_mlp": False, "act_layer": "gelu_tanh"}, False),
        ({"conv_mlp": False, "use_grn": True}, False),
        ({"conv_mlp": False, "ls_init_value": None}, False),
    ],
)
@torch.no_grad()
def test_stages_equal_timms(options: dict[str, Any], plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    fast = trunks.scaled_mlp
    monkeypatch.setattr(trunks, "scaled_mlp", lambda *given: calls.append(1) or fast(*given))
    trunk = _trunk(**options)
    images = torch.randn(2, 3, 64, 96).contiguous(memory_format=torch.channels_last)
    found, expected = [images], [images]
    for stage in ConvNeXtTrunk().stages(SimpleNamespace(trunk=trunk)):
        found.append(stage(found[-1]))
    for part in (trunk.stem, *trunk.stages):
        expected.append(part(expected[-1]))
    expected[-1] = trunk.norm_pre(expected[-1])
    copies = [m.clone() for m in found]
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-5 * float(theirs.abs().max()))
    assert len(calls) == (6 if plain else 0)
    assert all(torch.equal(a, b) for a, b in zip(found, copies, strict=True))
