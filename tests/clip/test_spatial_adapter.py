"""Spatial Adapter: the attention pool's projections, exactly, at every position."""

from __future__ import annotations

import pytest
import torch
from open_clip.modified_resnet import AttentionPool2d
from torch import nn

from opsnet.clip.spatial_adapter import SpatialAdapter


def make_pool(channels: int = 8, dim: int = 5) -> AttentionPool2d:
    """An attention pool for maps of 3 x 3, with biases that are not zero."""
    torch.manual_seed(0)
    pool = AttentionPool2d(3, channels, 2, dim)
    for layer in (pool.v_proj, pool.c_proj):
        nn.init.normal_(layer.bias)
    return pool.requires_grad_(False)


def test_a_weight_and_a_bias_by_hand() -> None:
    value, output = nn.Linear(2, 2), nn.Linear(2, 1)
    with torch.no_grad():
        value.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
        value.bias.copy_(torch.tensor([10.0, 1.0]))
        output.weight.copy_(torch.tensor([[3.0, -1.0]]))
        output.bias.copy_(torch.tensor([0.5]))
    adapter = SpatialAdapter(value=value, output=output)
    assert adapter.weight.flatten().tolist() == [3.0, 5.0]  # (3, -1) times the value matrix
    assert adapter.bias.tolist() == [29.5]  # 3 * 10 - 1 * 1 + 0.5
    features = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 3, 4)
    assert torch.equal(adapter(features), torch.full((1, 1, 3, 4), 3.0 - 5.0 + 29.5))


def test_the_average_of_the_map_is_the_projection_of_the_average() -> None:
    pool = make_pool()
    features = torch.randn(2, 8, 6, 7)
    averaged = SpatialAdapter(value=pool.v_proj, output=pool.c_proj)(features).mean((-2, -1))
    torch.testing.assert_close(averaged, pool.c_proj(pool.v_proj(features.mean((-2, -1)))))


def test_the_average_of_the_map_is_the_pool_with_uniform_attention() -> None:
    pool = make_pool()
    for layer in (pool.q_proj, pool.k_proj):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    nn.init.zeros_(pool.positional_embedding)
    features = torch.randn(2, 8, 3, 3)
    averaged = SpatialAdapter(value=pool.v_proj, output=pool.c_proj)(features).mean((-2, -1))
    torch.testing.assert_close(averaged, pool(features))


def test_each_position_sees_itself_alone() -> None:
    pool = make_pool()
    adapter = SpatialAdapter(value=pool.v_proj, output=pool.c_proj)
    features = torch.randn(1, 8, 4, 4)
    changed = features.clone()
    changed[:, :, 1, 2] += 1
    differs = (adapter(features) != adapter(changed)).any(1)[0]
    assert differs.nonzero().tolist() == [[1, 2]]


def test_the_merge_is_exact_to_the_last_digit() -> None:
    torch.manual_seed(1)
    value, output = nn.Linear(512, 512), nn.Linear(512, 16)
    adapter = SpatialAdapter(value=value, output=output)
    exact = output.weight.double() @ value.weight.double()
    assert torch.equal(adapter.weight[:, :, 0, 0], exact.float())


def test_it_has_nothing_to_train_or_to_save() -> None:
    pool = make_pool()
    adapter = SpatialAdapter(value=pool.v_proj, output=pool.c_proj)
    assert list(adapter.parameters()) == []
    assert adapter.state_dict() == {}
    assert not adapter(torch.randn(1, 8, 2, 2)).requires_grad


def test_half_precision_features() -> None:
    pool = make_pool()
    adapter = SpatialAdapter(value=pool.v_proj, output=pool.c_proj)
    assert adapter(torch.randn(1, 8, 2, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_projections_that_do_not_fit_state_both_sides() -> None:
    with pytest.raises(ValueError, match="value gives 4 channels but output takes 5"):
        SpatialAdapter(value=nn.Linear(4, 4), output=nn.Linear(5, 2))
