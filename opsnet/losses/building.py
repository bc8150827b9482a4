"""Builds the losses from ``losses`` in yaml; errors name the key."""

from __future__ import annotations

import math
import pkgutil
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from opsnet.losses.base import ImageLabelLoss, Loss, SegmentLoss
from opsnet.losses.weighted_sum import Losses
from opsnet.model import OPSNet
from opsnet.utils.errors import InputError


def build_losses(losses: DictConfig, model: OPSNet) -> Losses:
    """Builds the losses of a training.

    Args:
        losses: from conf/train.yaml, by name; losses that are null or have a weight of 0 are left out.
        model: the network at its initial weights.

    Raises:
        InputError: see :func:`loss_classes`.
    """
    from hydra.utils import instantiate

    built: dict[str, Loss] = {name: instantiate(losses[name]) for name in loss_classes(losses)}
    for loss in built.values():
        loss.setup(model)
    return Losses(built)


def loss_classes(losses: DictConfig) -> dict[str, type[Loss]]:
    """The classes of the active losses by name, without building them.

    Raises:
        InputError: a class or weight is missing, or the class is not a loss.
    """
    if not isinstance(losses, Mapping):
        raise InputError(f"losses must be a mapping of names to losses, got {losses!r}: give losses=mask2former")
    nodes = {str(name): node for name, node in losses.items() if node is not None}
    return {
        name: _loss_class(f"losses.{name}", node["_target_"])
        for name, node in nodes.items()
        if _weight(f"losses.{name}", node) > 0
    }


def _weight(key: str, node: Any) -> float:
    """The weight of a loss in yaml, after checking that a class is given too."""
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
        raise InputError(f"{key} has no _target_: set {key}._target_ to the full name of the loss class")
    weight = node.get("weight")
    if weight is None:
        raise InputError(f"{key} has no weight: give {key}.weight, e.g. 1.0; 0 leaves the loss out")
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
        raise InputError(f"{key}.weight must be a number of 0 or more, got {weight!r}; 0 leaves the loss out")
    return float(weight)


def _loss_class(key: str, target: str) -> type[Loss]:
    try:
        found = pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"{key}._target_ = {target} cannot be imported ({error}): check the name, or add its folder to PYTHONPATH"
        ) from error
    if not (isinstance(found, type) and issubclass(found, (SegmentLoss, ImageLabelLoss))):
        raise InputError(
            f"{key}._target_ = {target} is no loss: derive it from SegmentLoss or ImageLabelLoss of opsnet.losses.base"
        )
    return found
