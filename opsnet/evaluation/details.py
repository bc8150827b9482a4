"""Optional metrics beyond PQ and mIoU: per class, confusions, those from proposals, and the oracles' upper bounds.

From proposals, before the merge: average precision (AP) and the mIoU that Mask2Former and FC-CLIP report. From the map:
Boundary PQ. From the ground truth's masks: the accuracy of their names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.evaluation.instance_details import InstanceDetails
from opsnet.evaluation.scored_image import ImageMasks
from opsnet.inference.semantic import class_probabilities, mask_probabilities, semantic_labels
from opsnet.metrics.average_precision import InstanceResult
from opsnet.metrics.boundary_totals import BoundaryTotals
from opsnet.metrics.class_rows import Row as CsvRow
from opsnet.metrics.class_rows import class_rows, write_rows
from opsnet.metrics.confusions import ConfusionCounts, count_confusions, most_common
from opsnet.metrics.federated import FederatedTruth
from opsnet.metrics.image_overlaps import ImageOverlaps
from opsnet.metrics.mask_classification import TOPS, MaskClassification, classified_segments
from opsnet.metrics.merging import Mergeable, PanopticTotals
from opsnet.metrics.oracles import ORACLES, NamedMasks
from opsnet.metrics.panoptic_averages import PanopticScores, summarise
from opsnet.metrics.panoptic_quality import count_image
from opsnet.metrics.semantic import (
    PROPOSALS,
    SemanticCounts,
    SemanticResult,
    semantic_map_block,
    summarise_semantic,
)
from opsnet.panoptic.mask_filtering import Filtered
from opsnet.panoptic.merge import merge_panoptic
from opsnet.structures import GroundTruth, PanopticMap, TextBank

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
        index: its position in the dataset.
        map: its panoptic map, if :attr:`DetailOptions.need_map`.
        given_logits: (G, M), of the ground-truth masks that are classified, if these were given to the network.
    """

    masks: ImageMasks
    row: Filtered
    logits: Tensor
    no_object: Tensor
    overlaps: ImageOverlaps
    truth: GroundTruth
    index: int = 0
    map: PanopticMap | None = None
    given_logits: Tensor | None = None


@dataclass(frozen=True)
class DetailOptions:
    """Which details to compute: csv files of classes and confusions, AP of instances, oracles, mIoU from proposals,
    Boundary PQ, and the classification of ground-truth masks.
    """

    classes: bool = True
    instances: bool = False
    oracles: bool = False
    semantic: bool = False
    boundary: bool = False
    mask_classification: bool = False

    @property
    def need_masks(self) -> bool:
        """Whether all masks are needed at the size of the ground truth."""
        return self.instances or self.oracles or self.semantic

    @property
    def need_map(self) -> bool:
        """Whether panoptic maps are needed."""
        return self.boundary

    def __bool__(self) -> bool:
        return self.classes or self.need_masks or self.need_map or self.mask_classification


@dataclass
class Details:
    """Accumulates the details of one setting in one domain, image by image.

    Args:
        target: the domain's M names.
        kind: kind of the setting's Mask Filtering, which also ranks instances.
        overlap: the merge's overlap threshold.
        options: which details to compute.
        federated: the ground truth of instances, if it is not that of the panoptic maps (LVIS).

    Attributes:
        parts: the state of everything that is computed, by name.
    """

    target: TextBank
    kind: str
    overlap: float
    options: DetailOptions
    federated: FederatedTruth | None = None
    confusions: ConfusionCounts = field(init=False)
    pixels: SemanticCounts = field(init=False)
    instances: InstanceDetails | None = field(init=False)
    oracles: dict[str, PanopticTotals] = field(init=False)
    boundary: BoundaryTotals | None = field(init=False)
    mask_classification: MaskClassification | None = field(init=False)
    parts: dict[str, Mergeable] = field(init=False)

    def __post_init__(self) -> None:
        self.is_thing: list[bool] = self.target.is_thing.tolist()
        classes = len(self.is_thing)
        self.confusions = ConfusionCounts.zeros(classes)
        self.pixels = SemanticCounts.zeros(classes if self.options.semantic else 0)
        # The filter "cls" ranks by class probability itself, so both APs are one.
        rankings = ("",) if self.kind == "cls" else ("", PROPOSALS)
        self.instances = InstanceDetails(rankings, self.is_thing, self.federated) if self.options.instances else None
        self.oracles = {name: PanopticTotals(classes) for name in ORACLES if self.options.oracles}
        self.boundary = BoundaryTotals(classes) if self.options.boundary else None
        self.mask_classification = MaskClassification(classes) if self.options.mask_classification else None
        instances = self.instances.records if self.instances else {}
        self.parts = {
            "confusions": self.confusions,
            "pixels": self.pixels,
            **({"boundary": self.boundary} if self.boundary else {}),
            **({"mask_classification": self.mask_classification} if self.mask_classification else {}),
            **{f"instances{ranking}": records for ranking, records in instances.items()},
            **{f"oracle {name}": totals for name, totals in self.oracles.items()},
        }

    def add(self, image: ImageEvaluation) -> None:
        """Adds one image."""
        self.confusions.add(count_confusions(image.overlaps))
        if self.boundary is not None and image.map is not None:
            self.boundary.add(image.map, image.truth, image.overlaps)
        if self.mask_classification is not None and image.given_logits is not None:
            labels = torch.tensor([segment.label for segment in classified_segments(image.truth)[0]], dtype=torch.int64)
            self.mask_classification.add(image.given_logits, labels.to(image.given_logits.device))
        if not self.options.need_masks:
            return
        masks = image.masks
        probabilities = mask_probabilities(masks.logits, masks.padded, masks.valid, masks.size)
        classes = class_probabilities(image.logits, image.no_object)
        if self.options.semantic:
            labels = semantic_labels(probabilities, classes)
            self.pixels.add(semantic_map_block(labels, image.truth, len(self.is_thing)))
        if self.instances is not None:
            scores = {"": self._pair_scores(image, classes), PROPOSALS: classes}
            self.instances.add(probabilities, scores, image.truth, image.index)
        if self.options.oracles:
            _, labels, keep, merge_scores = image.row
            self._add_oracles(NamedMasks(probabilities, merge_scores, labels, keep), image.truth)

    def _pair_scores(self, image: ImageEvaluation, classes: Tensor) -> Tensor:
        """Scores of all pairs of a proposal and a name, (K, M), ranked as the filter ranks proposals.

        The filter by predicted IoU alone does not rank a proposal's names, so only its best name is a pair.
        """
        iou = image.masks.iou[:, None]
        if self.kind == "iou":
            return F.one_hot(image.logits.argmax(-1), len(self.is_thing)) * iou
        return classes * iou if self.kind == "cls_iou" else classes

    def _add_oracles(self, masks: NamedMasks, truth: GroundTruth) -> None:
        for name in self.oracles:
            better = ORACLES[name](masks, truth)
            prediction = merge_panoptic(
                better.probabilities, better.scores, better.labels, better.keep, self.is_thing, overlap=self.overlap
            )
            self.oracles[name].add(count_image(prediction, truth, len(self.is_thing)))

    def precision(self, ranking: str = "") -> InstanceResult | None:
        """Average precision over the images so far; ``None`` if not requested.

        Args:
            ranking: "", by the setting's filter, or ``PROPOSALS``, see
                :data:`opsnet.metrics.instances.RANKING_RULE`.
        """
        return self.instances.precision(ranking) if self.instances else None

    def semantic(self) -> SemanticResult | None:
        """The semantic maps from proposals, scored over the images so far; ``None`` if not requested."""
        return summarise_semantic(self.pixels) if self.options.semantic else None

    def metrics(self) -> dict[str, float]:
        """All requested, in percent.

        ``AP``, ``AP50`` and ``AP75``, for LVIS ``APr``, ``APc`` and ``APf`` too; these, ``mIoU`` and the other semantic
        metrics with the suffix ``_proposals``; ``BPQ`` and its parts; ``Acc1_masks`` and the like; and the oracles' PQ
        and its parts as ``oracle/<name>/PQ``.
        """
        metrics: dict[str, float] = {}
        if self.instances is not None:
            for suffix in ("", PROPOSALS):
                metrics.update({f"{measure}{suffix}": v for measure, v in self.instances.metrics(suffix).items()})
        if (semantic := self.semantic()) is not None:
            metrics.update({f"{measure}{PROPOSALS}": value for measure, value in semantic.as_dict().items()})
        metrics.update(self.boundary.as_dict(self.is_thing) if self.boundary else {})
        metrics.update(self.mask_classification.as_dict() if self.mask_classification else {})
        for name, totals in self.oracles.items():
            bound = summarise(totals.counts(), self.is_thing).as_dict()
            metrics.update({f"oracle/{name.replace(' ', '')}/{measure}": value for measure, value in bound.items()})
        return metrics

    def _more_columns(self) -> dict[str, list[float]]:
        """Columns of the csv of classes, M values each."""
        columns: dict[str, list[float]] = {}
        if self.boundary:
            columns["BPQ"] = [one.pq for one in self.boundary.scores(self.is_thing).per_class]
            columns["BIoU"] = self.boundary.class_ious().tolist()
        if self.mask_classification:
            columns.update({f"Acc{k}_masks": self.mask_classification.class_accuracies(k).tolist() for k in TOPS})
        return columns

    def write(self, folder: Path, file: str, panoptic: PanopticScores, semantic: SemanticResult) -> None:
        """Writes ``per_class/<file>`` and, if there are confusions, ``confusions/<file>`` into ``folder``."""
        names = self.target.names
        rows = class_rows(
            names, panoptic, semantic, self.precision(), self.confusions,
            semantic_proposals=self.semantic(), instances_proposals=self.precision(PROPOSALS),
            more=self._more_columns(),
        )  # fmt: skip
        write_rows(folder / "per_class" / file, rows)
        misses = most_common(self.confusions, names, top=len(names) ** 2)
        if misses:
            shown: list[CsvRow] = [
                {"truth": m.truth, "predicted": m.predicted, "count": m.count, "share": m.share} for m in misses
            ]
            write_rows(folder / "confusions" / file, shown)
