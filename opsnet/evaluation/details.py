"""What is looked at beyond PQ and mIoU: classes, confusions, instances (AP), and the ceilings of the oracles."""

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
    "PQ if one step before the merge made no mistake: names, filter (scores and what to keep), masks (the truth's); "
    "masks+names is 100 and checks the scoring"
)
"""To print beside the figures."""


@dataclass(frozen=True)
class ImageAnswer:
    """One picture under one setting.

    Attributes:
        masks: of K proposals.
        row: what Mask Filtering made of them, (K,) each.
        logits, no_object: (K, M) and (K,).
        overlaps: of the map with the truth.
        truth: of the picture.
    """

    masks: ImageMasks
    row: Filtered
    logits: Tensor
    no_object: Tensor
    overlaps: ImageOverlaps
    truth: GroundTruth


@dataclass(frozen=True)
class Wanted:
    """What to look at: figures and csv files of classes and confusions; AP; oracles."""

    classes: bool = True
    instances: bool = False
    oracles: bool = False

    def __bool__(self) -> bool:
        return self.classes or self.instances or self.oracles


@dataclass
class Details:
    """The details of one setting in one domain, picture after picture.

    Args:
        target: the domain's M names.
        kind: of the setting's Mask Filtering, which ranks instances too.
        overlap: of the merge.
        wanted: what to look at.
    """

    target: TextBank
    kind: str
    overlap: float
    wanted: Wanted
    confusions: ConfusionCounts = field(init=False)
    images: list[ImageInstances] = field(init=False, default_factory=list)
    oracles: dict[str, PanopticCounts] = field(init=False)
    _precision: InstanceResult | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.is_thing: list[bool] = self.target.is_thing.tolist()
        self.confusions = ConfusionCounts.zeros(len(self.is_thing))
        self.oracles = {name: PanopticCounts.zeros(len(self.is_thing)) for name in ORACLES if self.wanted.oracles}

    def add(self, answer: ImageAnswer) -> None:
        """Looks at one more picture."""
        self.confusions += count_confusions(answer.overlaps)
        if not (self.wanted.instances or self.wanted.oracles):
            return
        probabilities = answer.masks.full()
        if self.wanted.instances:
            predicted = instances_from_proposals(probabilities, self._pair_scores(answer), self.is_thing)
            self.images.append(ImageInstances(predicted, instances_from_map(answer.truth)))
            self._precision = None
        if self.wanted.oracles:
            _, labels, keep, merge_scores = answer.row
            self._add_oracles(NamedMasks(probabilities, merge_scores, labels, keep), answer.truth)

    def _pair_scores(self, answer: ImageAnswer) -> Tensor:
        """How pairs of a proposal and a name rank, (K, M): as the filter ranks proposals.

        The filter by predicted IoU alone does not rank a proposal's names: its best name is the only pair.
        """
        iou = answer.masks.iou[:, None]
        if self.kind == "iou":
            return F.one_hot(answer.logits.argmax(-1), len(self.is_thing)) * iou
        rivals = torch.cat((answer.logits, answer.no_object[:, None]), dim=-1)
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
        """Average precision over the pictures so far, if it was asked for."""
        if self.wanted.instances and self._precision is None:
            self._precision = summarise_instances(self.images, len(self.is_thing))
        return self._precision

    def figures(self) -> dict[str, float]:
        """In percent: ``AP``, ``AP50``, ``AP75``, and PQ and its parts as ``oracle/<name>/PQ``."""
        precision = self.precision()
        found = precision.as_dict() if precision else {}
        for name, counts in self.oracles.items():
            result = summarise(counts, self.is_thing).as_dict()
            found.update({f"oracle/{name.replace(' ', '')}/{measure}": value for measure, value in result.items()})
        return found

    def write(self, folder: Path, file: str, panoptic: PanopticResult, semantic: SemanticResult) -> None:
        """Writes ``per_class/<file>`` and ``confusions/<file>`` into ``folder``; no confusions, no file."""
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
