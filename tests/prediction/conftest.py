"""Made-up network output for an image of 64 x 64 pixels: three masks side by side."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from opsnet.inference.network_output import NetworkOutput
from opsnet.inference.trained_model import TrainedModel
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction.predictor import Predictor
from opsnet.structures import Proposals

STRIPES = ((0, 32), (32, 48), (48, 64))  # columns


@pytest.fixture
def proposed() -> Callable[..., NetworkOutput]:
    """Predicted IoU of the three masks -> the proposals of one image, at a quarter of its size."""

    def make(*iou: float) -> NetworkOutput:
        masks = torch.full((1, 3, 16, 16), -20.0)
        for k, (left, right) in enumerate(STRIPES):
            masks[0, k, :, left // 4 : right // 4] = 20
        proposals = Proposals(masks, torch.zeros(1, 3, 4), torch.tensor([iou]))
        size = (64, 64)
        return NetworkOutput(proposals, {"pooling": torch.zeros(1, 3, 4)}, size, (size,), (size,), (0,))

    return make


@pytest.fixture
def predictor(lenient_model: TrainedModel) -> Predictor:
    """A predictor with a hardly trained network that keeps every proposal."""
    return Predictor(lenient_model, filtering=MaskFiltering(kind="cls_iou", threshold=0))
