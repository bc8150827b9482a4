"""Parameter groups of a model with a few parameters, and the schedule step by step."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn

from opsnet.training.optim import adamw, parameter_groups, warmup_steps


class Model(nn.Module):
    """One parameter of each kind, in the backbone and outside."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
        self.backbone.relative_position_bias_table = nn.Parameter(torch.zeros(9, 2))
        self.linear = nn.Linear(2, 3)
        self.norm, self.group_norm = nn.LayerNorm((2, 3)), nn.GroupNorm(1, 2)
        self.queries = nn.Embedding(4, 5)
        self.level_embed = nn.Parameter(torch.zeros(2, 3))
        self.no_object_embed = nn.Parameter(torch.zeros(7))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def named_groups(model: nn.Module, **options) -> dict[str, tuple[float, float]]:
    """Name of each parameter -> its learning rate and weight decay."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, **options)
    rows = [(names[id(p)], (g["lr"], g["weight_decay"])) for g in groups for p in g["params"]]
    assert len(rows) == len(dict(rows))  # no duplicates
    return dict(rows)


def test_learning_rate_and_weight_decay_of_every_parameter() -> None:
    found = named_groups(Model(), lr=1.0, weight_decay=0.5, backbone_multiplier=0.25)
    assert found == {
        "backbone.0.weight": (0.25, 0.5),
        "backbone.0.bias": (0.25, 0.5),
        "backbone.1.weight": (0.25, 0.0),
        "backbone.1.bias": (0.25, 0.0),
        "backbone.relative_position_bias_table": (0.25, 0.0),  # Swin's; Mask2Former does not decay it either
        "linear.weight": (1.0, 0.5),
        "linear.bias": (1.0, 0.5),
        "norm.weight": (1.0, 0.0),  # a norm with two dimensions
        "norm.bias": (1.0, 0.0),
        "group_norm.weight": (1.0, 0.0),
        "group_norm.bias": (1.0, 0.0),
        "queries.weight": (1.0, 0.0),
        "level_embed": (1.0, 0.5),  # a plain parameter, which Mask2Former decays
        "no_object_embed": (1.0, 0.0),
    }


def test_at_most_four_groups() -> None:
    assert len(parameter_groups(Model(), lr=1.0, weight_decay=0.5)) == 4
    assert len(parameter_groups(nn.Linear(1, 1), lr=1.0, weight_decay=0.5)) == 1


def test_only_the_backbone_has_a_lower_learning_rate() -> None:
    model = nn.ModuleDict({"backbone": nn.Linear(1, 1), "backbone_neck": nn.Linear(1, 1), "head": nn.Module()})
    model["head"].backbone = nn.Linear(1, 1)
    rates = {name: lr for name, (lr, _) in named_groups(model, lr=1.0, weight_decay=0.0).items()}
    assert rates["backbone.weight"] == pytest.approx(0.1)
    assert rates["backbone_neck.weight"] == rates["head.backbone.weight"] == 1.0


def test_adamw_decays_weights_and_biases_but_no_norm() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.LayerNorm(1))
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    optimizer = adamw(model, lr=0.1, weight_decay=0.5)
    assert isinstance(optimizer, torch.optim.AdamW)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    decayed = 1 - 0.1 * 0.5  # without a gradient only the weight decay changes it
    assert [p.item() for p in model.parameters()] == pytest.approx([decayed, decayed, 1.0, 1.0])


def test_gradients_can_be_clipped_under_mixed_precision_with_adamw() -> None:
    model = nn.Linear(4, 1, bias=False)
    optimizer, scaler = adamw(model, lr=0.1), torch.amp.GradScaler("cpu", init_scale=1024.0)
    plugin = MixedPrecision("16-mixed", "cpu", scaler)
    scaler.scale(model(torch.ones(1, 4)).sum()).backward()
    scaler.unscale_(optimizer)
    assert model.weight.grad.norm() == pytest.approx(2)
    plugin.clip_gradients(optimizer, 0.01)
    assert model.weight.grad.norm() == pytest.approx(0.01, rel=1e-3)
    before = model.weight.detach().clone()
    scaler.step(optimizer)
    assert not torch.equal(model.weight, before)


def test_adamw_does_not_depend_on_the_memory_layout_of_gradients() -> None:
    torch.manual_seed(0)
    weight, gradient = torch.randn(4, 3, 3, 3), torch.randn(4, 3, 3, 3)
    moved = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        model = nn.Conv2d(3, 4, 3, bias=False)
        model.weight.data.copy_(weight)
        model.weight.grad = gradient.contiguous(memory_format=memory_format)
        adamw(model, lr=0.1).step()
        moved.append(model.weight.detach())
    assert torch.equal(*moved)


def rates(steps: int, **options) -> list[float]:
    """The learning rate of each step, for rates 1 and 10."""
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": parameters[0], "lr": 1.0}, {"params": parameters[1], "lr": 10.0}])
    schedule = warmup_steps(optimizer, total_steps=steps, **options)
    seen = []
    for _ in range(steps):
        slow, fast = (group["lr"] for group in optimizer.param_groups)
        assert fast == pytest.approx(10 * slow)
        seen.append(slow)
        optimizer.step()
        schedule.step()
    return seen


def test_the_papers_schedule() -> None:
    assert rates(20) == pytest.approx([1.0] * 18 + [0.1] + [0.01])


def test_warm_up_is_linear_and_ends_at_the_full_rate() -> None:
    assert rates(8, warmup=4, milestones=(0.75,), gammas=(0.5,)) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 0.5, 0.5])


def test_without_milestones_the_rate_stays() -> None:
    assert rates(3, milestones=(), gammas=()) == [1.0] * 3


def test_as_many_gammas_as_milestones() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(ValueError, match=r"as many gammas as milestones, got \[0.1\] and \[0.9, 0.95\]"):
        warmup_steps(optimizer, total_steps=10, gammas=(0.1,))
