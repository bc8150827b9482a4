"""What a loss is: a class named in ``losses`` of conf/train.yaml, with its weight.

.. code-block:: yaml

    losses:
      mine: {_target_: my.package.Mine, weight: 1.0}

The class derives from :class:`SegmentLoss` or :class:`ImageLabelLoss`, which says for which batches it is. This one is
logged as ``train/mine``.
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
        weight: factor of the loss in the sum that is minimised.

    Attributes:
        targets: type of the targets of the batches that it is for.
        trains_recognizer: whether it is for a recognizer that learns (``modulation=learned``).
        needs_initial_weights: whether it makes sense only for a training that starts from a checkpoint (``init_from``).

    Raises:
        ValueError: the weight is not above 0.
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
        """Called once before training, with the network at the weights that training starts from."""

    def metrics(self, context: Any) -> dict[str, Tensor]:
        """Scalars to log beside the loss, by name; the argument is that of ``forward``."""
        return {}


class SegmentLoss(Loss):
    """A loss of a batch with segments."""

    targets = SegmentTargets

    def forward(self, context: SegmentContext) -> Tensor:
        """The loss without its weight: a scalar, or one value per decoder layer, (L,), which are summed."""
        raise NotImplementedError


class ImageLabelLoss(Loss):
    """A loss of a batch with image labels (OPSNet+)."""

    targets = ImageLabels

    def forward(self, context: ImageLabelContext) -> Tensor:
        """The loss without its weight, a scalar."""
        raise NotImplementedError
