"""The losses of a training by name and their weighted sum."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from opsnet.losses.base import Loss
from opsnet.losses.context import ImageLabelContext, SegmentContext

TOTAL = "loss"
"""Name of the sum."""


class Losses(nn.Module):
    """Losses by the names under which they are logged, summed in this order.

    Args:
        losses: for batches with segments, with image labels, or both.

    Raises:
        ValueError: a loss has the name of the sum, or a name that ``nn.ModuleDict`` does not accept.
    """

    def __init__(self, losses: Mapping[str, Loss]) -> None:
        super().__init__()
        if TOTAL in losses:
            raise ValueError(f"'{TOTAL}' is the name of the sum of the losses: give that loss another name")
        try:
            self.by_name = nn.ModuleDict(losses)
        except KeyError as error:
            raise ValueError(f"{error.args[0]}: give that loss another name") from error

    def of(self, targets: type) -> dict[str, Loss]:
        """The losses for batches with targets of this type, ``SegmentTargets`` or ``ImageLabels``."""
        return {name: loss for name, loss in self.by_name.items() if isinstance(loss, Loss) and loss.targets is targets}

    def forward(self, context: SegmentContext | ImageLabelContext) -> dict[str, Tensor]:
        """Weighted losses of one batch by name, and their sum ``loss``; scalars."""
        # Weighted per layer: weighting the sum over layers instead would round differently.
        weighted: dict[str, Tensor] = {
            name: sum((loss.weight * loss(context)).reshape(-1).unbind())  # type: ignore[misc]
            for name, loss in self.of(type(context.targets)).items()
        }
        return {**weighted, TOTAL: sum(weighted.values())}  # type: ignore[dict-item]

    def metrics(self, context: SegmentContext | ImageLabelContext) -> dict[str, Tensor]:
        """Further scalars that the losses of a batch log."""
        metrics: dict[str, Tensor] = {}
        for loss in self.of(type(context.targets)).values():
            metrics |= loss.metrics(context)
        return metrics
