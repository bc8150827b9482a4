"""``PanopticQuality``: PQ, SQ and RQ (Kirillov et al. 2019, section 4) as a torchmetrics ``Metric``.

The counts equal panopticapi's, including crowd and void. Those of torchmetrics' own ``PanopticQuality`` do not: it does
not support crowd and counts predicted void differently. The arithmetic is in ``panoptic_arithmetic``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from opsnet.metrics.image_overlaps import image_overlaps
from opsnet.metrics.panoptic_arithmetic import count_segments
from opsnet.metrics.panoptic_averages import PanopticCounts, PanopticScores, summarise
from opsnet.structures import GroundTruth, PanopticMap


class PanopticQuality(Metric):
    """Panoptic quality over all images passed to ``update``, on all ranks.

    Args:
        is_thing: one flag per class (C), indexed by the segments' labels; see ``Vocabulary.is_thing``.
        kwargs: arguments of ``torchmetrics.Metric``.

    Raises:
        ValueError: ``is_thing`` is empty.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    tp: Tensor
    fp: Tensor
    fn: Tensor
    iou_sum: Tensor

    def __init__(self, *, is_thing: Sequence[bool], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.is_thing = tuple(bool(flag) for flag in is_thing)
        if not self.is_thing:
            raise ValueError("PanopticQuality needs one is_thing flag per class, got none: pass vocabulary.is_thing")
        num_classes = len(self.is_thing)
        for name in ("tp", "fp", "fn"):
            self.add_state(name, torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("iou_sum", torch.zeros(num_classes, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: PanopticMap, truth: GroundTruth) -> None:
        """Adds one image.

        Areas are counted in the maps; ``Segment.area`` is not used, because the map may have been resized since.

        Args:
            prediction: ids (H, W); each of its segments has at least one pixel.
            truth: ids (H, W) of the same size; crowd segments and void are ignored as in panopticapi.

        Raises:
            ValueError: the maps differ in size, a map and its segments disagree, or a label is out of range.
        """
        counts = count_image(prediction, truth, len(self.is_thing))
        device = self.tp.device
        self.tp = self.tp + torch.from_numpy(counts.tp).to(device)
        self.fp = self.fp + torch.from_numpy(counts.fp).to(device)
        self.fn = self.fn + torch.from_numpy(counts.fn).to(device)
        # Not in place: if the parent module was cast to bfloat16, the sum promotes the state back to float64.
        self.iou_sum = self.iou_sum + torch.from_numpy(counts.iou_sum).to(device)

    def compute(self) -> dict[str, float]:
        """``PQ``, ``PQth``, ``PQst``, ``SQ`` and ``RQ`` in percent, over all ranks."""
        return self._summarise().as_dict()

    def result(self) -> PanopticScores:
        """The averages and per-class results over all ranks; must be called on every rank."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            return self._summarise()

    def _summarise(self) -> PanopticScores:
        states = (self.tp, self.fp, self.fn, self.iou_sum)
        return summarise(PanopticCounts(*(state.cpu().numpy() for state in states)), self.is_thing)


def count_image(prediction: PanopticMap, truth: GroundTruth, num_classes: int) -> PanopticCounts:
    """Matches and misses of one image.

    Args:
        prediction, truth: as in ``PanopticQuality.update``.
        num_classes: C.

    Raises:
        ValueError: the maps differ in size, a map and its segments disagree, or a label is out of range.
    """
    overlaps = image_overlaps(prediction, truth, num_classes)
    return count_segments(overlaps.pixels, overlaps.truth, overlaps.prediction, num_classes)
