"""Layers against PyTorch's own attention and the sine encoding of transformers' Mask2Former."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from opsnet.segmenter.layers import MLP, Attention, FeedForward, sine_positions


def twins(dim: int = 12, heads: int = 3, memory_dim: int | None = None) -> tuple[Attention, nn.MultiheadAttention]:
    """Our attention and PyTorch's with the same non-zero weights."""
    torch.manual_seed(0)
    ours = Attention(dim=dim, heads=heads, memory_dim=memory_dim)
    for layer in (ours.q, ours.k, ours.v, ours.out):
        nn.init.normal_(layer.bias)
    theirs = nn.MultiheadAttention(dim, heads, batch_first=True, kdim=memory_dim, vdim=memory_dim)
    with torch.no_grad():
        if memory_dim is None:
            theirs.in_proj_weight.copy_(torch.cat((ours.q.weight, ours.k.weight, ours.v.weight)))
        else:
            for name in "qkv":
                getattr(theirs, f"{name}_proj_weight").copy_(getattr(ours, name).weight)
        theirs.in_proj_bias.copy_(torch.cat((ours.q.bias, ours.k.bias, ours.v.bias)))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    return ours, theirs


@pytest.mark.parametrize("memory_dim", [None, 20])
def test_attention_is_pytorchs(memory_dim: int | None) -> None:
    ours, theirs = twins(memory_dim=memory_dim)
    query = torch.randn(2, 5, 12)
    key, value = torch.randn(2, 2, 7, memory_dim or 12)
    torch.testing.assert_close(ours(query, key, value), theirs(query, key, value)[0])


def test_masked_attention_is_pytorchs() -> None:
    ours, theirs = twins()
    query, key, value = torch.randn(2, 5, 12), torch.randn(2, 7, 12), torch.randn(2, 7, 12)
    allowed = torch.rand(2, 5, 7) > 0.6
    allowed[..., 0] = True
    forbidden = (~allowed).repeat_interleave(3, dim=0)  # PyTorch's mask: one per head, True where it may not attend
    expected = theirs(query, key, value, attn_mask=forbidden)[0]
    torch.testing.assert_close(ours(query, key, value, allowed), expected)
    assert not torch.allclose(ours(query, key, value), expected, atol=1e-3)


def test_a_query_that_attends_to_one_position_returns_its_value() -> None:
    ours, _ = twins()
    memory = torch.randn(1, 7, 12)
    allowed = torch.zeros(1, 1, 7, dtype=torch.bool)
    allowed[0, 0, 4] = True
    answer = ours(torch.randn(1, 1, 12), memory, memory, allowed)
    torch.testing.assert_close(answer[0, 0], ours.out(ours.v(memory[0, 4])))


def test_heads_that_do_not_divide_the_dimension() -> None:
    with pytest.raises(ValueError, match=r"heads \(5\) must divide the dimension \(12\)"):
        Attention(dim=12, heads=5)


@pytest.mark.parametrize(("height", "width", "dim"), [(3, 5, 8), (1, 1, 4), (4, 2, 12)])
def test_sine_positions_are_mask2formers(height: int, width: int, dim: int) -> None:
    module = pytest.importorskip("transformers.models.mask2former.modeling_mask2former")
    theirs = module.Mask2FormerSinePositionEmbedding(num_position_features=dim // 2, normalize=True)
    expected = theirs(torch.Size((1, dim, height, width)), torch.device("cpu"), torch.float32)
    ours = sine_positions(height, width, dim, torch.device("cpu"))
    assert ours.shape == (1, dim, height, width)
    torch.testing.assert_close(ours, expected.reshape(ours.shape))


def test_sine_positions_by_hand() -> None:
    positions = sine_positions(2, 4, 8, torch.device("cpu"))[0]
    # Row 0 of 2 is at pi; the second pair of channels has a wavelength 100 times as long. Then the columns.
    down = [math.sin(math.pi), math.cos(math.pi), math.sin(math.pi / 100), math.cos(math.pi / 100)]
    across = [math.sin(1.5 * math.pi), math.cos(1.5 * math.pi)]
    assert positions[:4, 0, 2].tolist() == pytest.approx(down, abs=1e-5)
    assert positions[4:6, 0, 2].tolist() == pytest.approx(across, abs=1e-5)
    assert torch.equal(positions[:4, 0, 0], positions[:4, 0, 3])  # the first half of the channels encodes rows only
    assert torch.equal(positions[4:, 0, 1], positions[4:, 1, 1])


def test_feed_forward_adds_and_normalises() -> None:
    layer = FeedForward(dim=4, hidden=8)
    nn.init.zeros_(layer.linear2.weight)
    nn.init.zeros_(layer.linear2.bias)
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(layer(x), torch.nn.functional.layer_norm(x, (4,)))
    nn.init.ones_(layer.linear2.weight)
    nn.init.constant_(layer.linear1.weight, -1.0)
    nn.init.zeros_(layer.linear1.bias)
    positive = torch.tensor([[1.0, 2.0, 3.0, 4.0]])  # ReLU zeroes every hidden unit
    torch.testing.assert_close(layer(positive), torch.nn.functional.layer_norm(positive, (4,)))


def test_mlp_has_three_layers_with_relu_between() -> None:
    mlp = MLP(dim=2, output_dim=1)
    for layer in list(mlp)[::2]:
        nn.init.eye_(layer.weight)
        nn.init.zeros_(layer.bias)
    assert [type(layer) for layer in mlp] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert mlp(torch.tensor([[3.0, 1.0], [-3.0, 1.0]])).flatten().tolist() == [3.0, 0.0]
