"""What tells two CLIPs with equal weights apart."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from openai_clip import small_clip
from torch import nn

from opsnet.clip.architecture import architecture_hash, describe_architecture, uses_quick_gelu


def block(**changes: object) -> nn.Module:
    parts = {
        "conv": nn.Conv2d(3, 4, 3, padding=1),
        "norm": nn.BatchNorm2d(4),
        "act": nn.ReLU(),
        "pool": nn.AvgPool2d(2),
        "drop": nn.Dropout(0.1),
        "tower": nn.TransformerEncoderLayer(4, 2, 8, activation="gelu"),
        **changes,
    }
    return nn.ModuleDict(parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"act": nn.GELU()},
        {"act": nn.GELU(approximate="tanh")},
        {"pool": nn.AvgPool2d(2, stride=1)},
        {"pool": nn.MaxPool2d(2)},
        {"conv": nn.Conv2d(3, 4, 3, padding=1, stride=2)},
        {"norm": nn.BatchNorm2d(4, eps=1e-3)},
        {"tower": nn.TransformerEncoderLayer(4, 1, 8, activation="gelu")},
        {"tower": nn.TransformerEncoderLayer(4, 2, 8, activation=F.silu)},
    ],
)
def test_every_change_that_the_weights_do_not_show_changes_the_hash(change: dict[str, nn.Module]) -> None:
    torch.manual_seed(0)
    plain, changed = block(), block(**change)
    assert plain.state_dict().keys() == changed.state_dict().keys()
    assert architecture_hash(plain) != architecture_hash(changed)


@pytest.mark.parametrize("change", [{"drop": nn.Identity()}, {"drop": nn.Dropout(0.5)}])
def test_what_computes_nothing_does_not_count(change: dict[str, nn.Module]) -> None:
    assert architecture_hash(block()) == architecture_hash(block(**change))


def test_neither_weights_nor_where_and_how_they_lie_count() -> None:
    model = block()
    first = architecture_hash(model)
    for changed in (block(), model.train(), model.bfloat16(), model.to(memory_format=torch.channels_last)):
        assert architecture_hash(changed) == first


def test_the_description_by_hand() -> None:
    assert describe_architecture(nn.Sequential(nn.Conv2d(3, 4, 2), nn.Sequential(nn.ReLU(), nn.Dropout()))) == [
        "0 kernel_size=(2, 2) stride=(1, 1) padding=(0, 0) dilation=(1, 1) groups=1",
        "1.0 ReLU",
    ]


def test_gelu_and_quick_gelu_are_two_clips_of_equal_weights() -> None:
    quick, plain = small_clip(), small_clip(quick_gelu=False)
    assert all(torch.equal(tensor, plain.state_dict()[name]) for name, tensor in quick.state_dict().items())
    tokens = torch.tensor([[49406, 320, 2368, 49407] + [0] * 12])
    assert (quick.encode_text(tokens) - plain.encode_text(tokens)).abs().max() > 1e-4
    assert (uses_quick_gelu(quick), uses_quick_gelu(plain)) == (True, False)
    assert len({architecture_hash(model) for model in (quick, plain, small_clip(heads=4))}) == 3


def test_the_hash_is_the_same_on_every_machine() -> None:
    """Another value would refuse checkpoints of earlier versions: never replace it without a way to read them."""
    assert architecture_hash(small_clip()) == "16d14d"
