"""Parameter groups and learning-rate schedule of Mask2Former."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

# Bare parameters without weight decay: positions (Swin and ViT) and an embedding that is not an ``nn.Embedding``.
_UNDECAYED_NAMES = ("relative_position_bias_table", "absolute_pos_embed", "pos_embed", "no_object_embed")
_UNDECAYED = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.Embedding)


def parameter_groups(
    model: nn.Module, *, lr: float, weight_decay: float, backbone_multiplier: float = 0.1
) -> list[dict[str, Any]]:
    """Trainable parameters in at most four groups.

    Args:
        model: parameters under ``backbone.`` belong to the backbone.
        lr: learning rate of everything except the backbone.
        weight_decay: weight decay of weights and biases; norms, embeddings and positions have none.
        backbone_multiplier: the backbone's learning rate as a fraction of ``lr``.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                decayed = not isinstance(module, _UNDECAYED) and name not in _UNDECAYED_NAMES
                key = (f"{module_name}.".startswith("backbone."), decayed)
                groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": lr * (backbone_multiplier if in_backbone else 1.0),
            "weight_decay": weight_decay if decayed else 0.0,
        }
        for (in_backbone, decayed), parameters in sorted(groups.items())
    ]


def adamw(
    model: nn.Module, *, lr: float = 1e-4, weight_decay: float = 0.05, backbone_multiplier: float = 0.1
) -> torch.optim.AdamW:
    """AdamW over :func:`parameter_groups`.

    PyTorch's fused form is not used: it unscales gradients within its step, so they cannot be clipped under AMP; and on
    a CPU it is wrong (torch 2.15) if a gradient's memory layout differs from its parameter's. It would save 4 ms per
    step of the miniature on a CPU.
    """
    groups = parameter_groups(model, lr=lr, weight_decay=weight_decay, backbone_multiplier=backbone_multiplier)
    return torch.optim.AdamW(groups, lr=lr)


def warmup_steps(
    optimizer: torch.optim.Optimizer,
    *,
    total_steps: int,
    warmup: int = 0,
    milestones: Sequence[float] = (0.9, 0.95),
    gammas: Sequence[float] = (0.1, 0.1),
) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up, then drops at fractions of the training.

    Args:
        total_steps: optimizer steps of the whole training.
        warmup: number of warm-up steps.
        milestones: fractions of ``total_steps``.
        gammas: factor at each milestone, multiplied with the earlier ones.

    Raises:
        ValueError: the two lists differ in length.
    """
    if len(milestones) != len(gammas):
        raise ValueError(
            f"optim.scheduler needs as many gammas as milestones, got {list(gammas)} and {list(milestones)}"
        )

    def factor(step: int) -> float:
        value = min(1.0, (step + 1) / warmup) if warmup else 1.0
        for milestone, gamma in zip(milestones, gammas, strict=True):
            value *= gamma if step >= milestone * total_steps else 1.0
        return value

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
