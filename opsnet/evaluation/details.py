"""Optional metrics beyond PQ and mIoU: per class, confusions, average precision (AP), and the oracles' upper bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.evaluation.scored_image import ImageMasks
from opsnet.metrics.average_precision import ImageInstances, InstanceResult, summarise_instances
from opsnet.metrics.class_rows import Row as CsvRow
from opsnet.metrics.class_rows import class_rows, write_rows
from opsnet.metrics.confusions import ConfusionCounts, count_confusions, most_common
from opsnet.metrics.image_overlaps import ImageOverlaps
from opsnet.metrics.instances import instances_from_map, instances_from_proposals
from opsnet.metrics.oracles import ORACLES, NamedMasks
from opsnet.metrics.panoptic_averages import PanopticCounts, PanopticResult, summarise
from opsnet.metrics.panoptic_quality import count_image
from opsnet.metrics.semantic import SemanticResult
from opsnet.panoptic.mask_filtering import Filtered
from opsnet.panoptic.merge import merge_panoptic
from opsnet.structures import GroundTruth, TextBank

ORACLE_RULE = (
    "PQ if one step before the merge were perfect: names, filter (scores and selection), or masks (those of the ground "
    "truth); masks+names is 100 and checks the scoring"
)
"""Caption of the printed table."""


@dataclass(frozen=True)
class ImageEvaluation:
    """One image evaluated with one setting.

    Attributes:
        masks: masks of the K proposals.
        row: output of Mask Filtering, (K,) each.
        logits, no_object: (K, M) and (K,).
        overlaps: overlaps of the map with the ground truth.
        truth: the image's ground truth.
    """

    masks: ImageMasks
    row: Filtered
    logits: Tensor
    no_object: Tensor
    overlaps: ImageOverlaps
    truth: GroundTruth


@dataclass(frozen=True)
class DetailOptions:
    """Which details to compute: csv files of classes and confusions, AP of instances, oracles."""

    classes: bool = True
    instances: bool = False
    oracles: bool = False

    def __bool__(self) -> bool:
        return self.classes or self.instances or self.oracles


@dataclass
class Details:
    """Accumulates the details of one setting in one domain, image by image.

    Args:
        target: the domain's M names.
        kind: kind of the setting's Mask Filtering, which also ranks instances.
        overlap: the merge's overlap threshold.
        options: which details to compute.
    """

    target: TextBank
    kind: str
    overlap: float
    options: DetailOptions
    confusions: ConfusionCounts = field(init=False)
    images: list[ImageInstances] = field(init=False, default_factory=list)
    oracles: dict[str, PanopticCounts] = field(init=False)
    _precision: InstanceResult | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.is_thing: list[bool] = self.target.is_thing.tolist()
        self.confusions = ConfusionCounts.zeros(len(self.is_thing))
        self.oracles = {name: PanopticCounts.zeros(len(self.is_thing)) for name in ORACLES if self.options.oracles}

    def add(self, image: ImageEvaluation) -> None:
        """Adds one image."""
        self.confusions += count_confusions(image.overlaps)
        if not (self.options.instances or self.options.oracles):
            return
        probabilities = image.masks.full()
        if self.options.instances:
            predicted = instances_from_proposals(probabilities, self._pair_scores(image), self.is_thing)
            self.images.append(ImageInstances(predicted, instances_from_map(image.truth)))
            self._precision = None
        if self.options.oracles:
            _, labels, keep, merge_scores = image.row
            self._add_oracles(NamedMasks(probabilities, merge_scores, labels, keep), image.truth)

    def _pair_scores(self, image: ImageEvaluation) -> Tensor:
        """Scores of all pairs of a proposal and a name, (K, M), ranked as the filter ranks proposals.

        The filter by predicted IoU alone does not rank a proposal's names, so only its best name is a pair.
        """
        iou = image.masks.iou[:, None]
        if self.kind == "iou":
            return F.one_hot(image.logits.argmax(-1), len(self.is_thing)) * iou
        rivals = torch.cat((image.logits, image.no_object[:, None]), dim=-1)
        names = rivals.softmax(-1)[:, :-1]
        return names * iou if self.kind == "cls_iou" else names

    def _add_oracles(self, masks: NamedMasks, truth: GroundTruth) -> None:
        for name in self.oracles:
            better = ORACLES[name](masks, truth)
            prediction = merge_panoptic(
                better.probabilities, better.scores, better.labels, better.keep, self.is_thing, overlap=self.overlap
            )
            self.oracles[name] += count_image(prediction, truth, len(self.is_thing))

    def precision(self) -> InstanceResult | None:
        """Average precision over the images so far; ``None`` if not requested."""
        if self.options.instances and self._precision is None:
            self._precision = summarise_instances(self.images, len(self.is_thing))
        return self._precision

    def metrics(self) -> dict[str, float]:
        """In percent: ``AP``, ``AP50``, ``AP75``, and the oracles' PQ and its parts as ``oracle/<name>/PQ``."""
        precision = self.precision()
        metrics = precision.as_dict() if precision else {}
        for name, counts in self.oracles.items():
            result = summarise(counts, self.is_thing).as_dict()
            metrics.update({f"oracle/{name.replace(' ', '')}/{measure}": value for measure, value in result.items()})
        return metrics

    def write(self, folder: Path, file: str, panoptic: PanopticResult, semantic: SemanticResult) -> None:
        """Writes ``per_class/<file>`` and, if there are confusions, ``confusions/<file>`` into ``folder``."""
        names = self.target.names
        write_rows(
            folder / "per_class" / file, class_rows(names, panoptic, semantic, self.precision(), self.confusions)
        )
        misses = most_common(self.confusions, names, top=len(names) ** 2)
        if misses:
            rows: list[CsvRow] = [
                {"truth": m.truth, "predicted": m.predicted, "count": m.count, "share": m.share} for m in misses
            ]
            write_rows(folder / "confusions" / file, rows)
