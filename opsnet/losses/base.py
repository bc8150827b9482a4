"""What a loss is: a class named in ``losses`` of conf/train.yaml, with its weight.

.. code-block:: yaml

    losses:
      mine: {_target_: my.package.Mine, weight: 1.0}

The class derives from :class:`SegmentLoss` or :class:`ImageLabelLoss`, which determines the batches it is applied to.
This one is logged as ``train/mine``.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch import Tensor, nn

from opsnet.losses.context import ImageLabelContext, SegmentContext
from opsnet.model import OPSNet
from opsnet.structures import ImageLabels, SegmentTargets


class Loss(nn.Module):
    """Base of all losses; derive from one of the two below.

    Args:
        weight: factor of the loss in the total that is minimised.

    Attributes:
        targets: target type of the batches that it is applied to.
        trains_recognizer: whether it trains a recognizer with parameters (``modulation=learned``).
        needs_initial_weights: whether it requires a training that starts from a checkpoint (``init_from``).

    Raises:
        ValueError: the weight is not above 0, or not finite.
    """

    targets: ClassVar[type]
    needs_initial_weights: ClassVar[bool] = False
    trains_recognizer: ClassVar[bool] = False

    def __init__(self, *, weight: float) -> None:
        super().__init__()
        if not 0 < weight < math.inf:
            raise ValueError(f"the weight of {type(self).__name__} must be above 0 and finite, got {weight}")
        self.weight = weight

    def setup(self, model: OPSNet) -> None:
        """Called once before training, with the network at its initial weights."""

    def metrics(self, context: Any) -> dict[str, Tensor]:
        """Scalars to log in addition to the loss, by name; takes the same argument as ``forward``."""
        return {}


class SegmentLoss(Loss):
    """A loss for batches with segments."""

    targets = SegmentTargets

    def forward(self, context: SegmentContext) -> Tensor:
        """The unweighted loss: a scalar, or one value per decoder layer, (L,), which are summed."""
        raise NotImplementedError


class ImageLabelLoss(Loss):
    """A loss for batches with image labels (OPSNet+)."""

    targets = ImageLabels

    def forward(self, context: ImageLabelContext) -> Tensor:
        """The unweighted loss, a scalar."""
        raise NotImplementedError
