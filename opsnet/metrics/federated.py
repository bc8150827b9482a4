"""LVIS' federated rule (Gupta et al. 2019, section 3; lvis-api): average precision where few classes are annotated.

In an image of LVIS only some classes are annotated. A class is *positive* if it has an instance there, *negative* if it
is known to be absent, and of all others nothing is known, so detections of these are left out. Of a class that is
*not exhaustively* annotated in the image, a detection that matches no instance is ignored.

All else is COCO's rule, so :func:`federated` turns an image's instances into ones that COCOeval scores as LVIS does:
"not exhaustive" is one crowd region of this class all over the image. AP, AP50 and AP75 are means over the classes with
an instance; APr, APc and APf over those that are rare, common and frequent in LVIS' training images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from pycocotools import mask as coco_masks

from opsnet.metrics.average_precision import ImageInstances, InstanceResult
from opsnet.metrics.instances import Instance

FEDERATED_RULE = (
    "of LVIS: 300 detections per image, those of classes of which the image says nothing are left out, and unmatched "
    "ones of classes that are not exhaustively annotated are ignored; APr, APc and APf: rare, common, frequent classes"
)
"""To be printed with the results."""

MAX_DETECTIONS = 300
"""LVIS' number of detections per image, of all classes together."""


@dataclass(frozen=True)
class FederatedImage:
    """What is known of one image.

    Attributes:
        size: (height, width).
        true: its instances, which may overlap.
        negative: labels of classes that are known to be absent.
        not_exhaustive: labels of classes of which further instances may be there.
    """

    size: tuple[int, int]
    true: tuple[Instance, ...]
    negative: frozenset[int]
    not_exhaustive: frozenset[int]


class FederatedTruth(Protocol):
    """The ground truth of a domain.

    Attributes:
        groups: labels by frequency: "r", "c" and "f".
    """

    groups: Mapping[str, Sequence[int]]

    def image(self, index: int) -> FederatedImage:
        """The image at this position of the dataset."""


def federated(predicted: Sequence[Instance], image: FederatedImage) -> ImageInstances:
    """The instances of an image for :func:`opsnet.metrics.average_precision.summarise_instances`.

    Args:
        predicted: at most :data:`MAX_DETECTIONS`, of all classes.
        image: the ground truth.
    """
    known = {one.label for one in image.true} | image.negative
    # A mask without pixels is in no crowd region, so it is left out here.
    kept = [
        one for one in predicted
        if one.label in known and not (one.label in image.not_exhaustive and not coco_masks.area(one.mask))
    ]  # fmt: skip
    open_classes = sorted(image.not_exhaustive & {one.label for one in kept})
    everywhere = coco_masks.encode(np.ones(image.size, np.uint8, order="F")) if open_classes else {}
    crowd = (Instance(label, everywhere, is_crowd=True) for label in open_classes)
    return ImageInstances(tuple(kept), (*image.true, *crowd))


def group_averages(result: InstanceResult, groups: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """``APr``, ``APc`` and ``APf`` in percent; a group without an instance in the ground truth is left out."""
    found = {}
    for frequency, labels in groups.items():
        values = [ap for label in labels if not math.isnan(ap := result.per_class[label].ap)]
        if values:
            found[f"AP{frequency}"] = float(np.mean(values))
    return found
