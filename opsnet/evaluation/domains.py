"""Evaluates one domain: scores every setting on every image and writes panels and csv files."""

from __future__ import annotations

import base64
import dataclasses
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.evaluation.details import Details
from opsnet.evaluation.federated_truth import LvisTruth
from opsnet.evaluation.plan import Plan
from opsnet.evaluation.scorer import SettingScorer
from opsnet.evaluation.sources import EvaluatedBatch
from opsnet.inference.names import DomainNames
from opsnet.metrics.confusions import Confusion, most_common
from opsnet.metrics.merging import Mergeable
from opsnet.metrics.panoptic_averages import IntArray
from opsnet.metrics.semantic import summarise_semantic
from opsnet.metrics.speed import Speed
from opsnet.structures import PanopticMap, Segment

CONFUSIONS_SHOWN = 5


@dataclass(frozen=True)
class DomainMetrics:
    """Metrics in percent by ``<setting>/<measure>``, the similarity s, the most common confusions by setting, and the
    speed (see :class:`opsnet.metrics.speed.Speed`).
    """

    metrics: dict[str, float]
    similarity: float
    misses: dict[str, list[Confusion]]
    speed: dict[str, float] = field(default_factory=dict)


class DomainEvaluation:
    """Scores batches of one domain; of all its images, or of a part of them.

    Args:
        name: the domain's name.
        domain: its class names.
        dataset: its images.
        plan: settings to score, and what to draw and write.

    Attributes:
        parts: the state of everything that is accumulated, by name; see :mod:`opsnet.metrics.merging`.
    """

    def __init__(self, name: str, domain: DomainNames, dataset: PanopticDataset, plan: Plan) -> None:
        self.name, self.domain, self.dataset, self.plan = name, domain, dataset, plan
        self.speed = Speed()
        federated = LvisTruth(dataset) if plan.details.instances and dataset.instances else None
        self.details = {
            s.name: Details(
                domain.target, s.filtering.kind, domain.overlap if s.overlap is None else s.overlap, plan.details,
                federated,
            )
            for s in plan.detailed
            if plan.details
        }  # fmt: skip
        self.scorer = SettingScorer(domain, plan.settings, self.details)
        self.drawn = DrawnMaps()
        self.parts: dict[str, Mergeable] = {**self.scorer.parts, "panels": self.drawn, "speed": self.speed}

    def score(self, batch: EvaluatedBatch, first: int) -> None:
        """Scores a batch, whose first image has the position ``first`` in the dataset."""
        if batch.times is not None:
            self.speed.add(batch.times, len(batch.truths))
        to_draw = [self.plan.panel_setting] if first < self.plan.panels else []
        maps = self.scorer.score(batch.output, batch.truths, with_maps=to_draw, first=first, given=batch.given)
        for key in to_draw:
            for index, predicted in enumerate(maps[key][: self.plan.panels - first], start=first):
                self.drawn.add(index, predicted)

    def finish(self) -> DomainMetrics:
        """The metrics of all images; writes panels and csv files."""
        output, names = self.plan.output, self.domain.target.names
        if self.drawn.maps:
            _draw(output / "panels" / f"{self.name}.png", self.dataset, self.drawn, names)
        if self.plan.details.classes:
            for key, detail in self.details.items():
                file = f"{self.name}/{key.replace('/', '_')}.csv"
                detail.write(output, file, self.scorer.panoptic(key), summarise_semantic(self.scorer.pixels[key]))
        results = self.scorer.results()
        return DomainMetrics(
            {f"{key}/{measure}": value for key, values in results.items() for measure, value in values.items()},
            float(self.domain.names.similarity),
            {k: most_common(d.confusions, names, CONFUSIONS_SHOWN) for k, d in self.details.items()},
            self.speed.as_dict(),
        )


class Batches(Protocol):
    """All batches of a domain, in the order of its dataset."""

    names: DomainNames

    def __iter__(self) -> Any: ...


def evaluate_domain(name: str, batches: Batches, dataset: PanopticDataset, plan: Plan) -> DomainMetrics:
    """Scores a whole domain in this process, without a journal; writes its panels and csv files."""
    evaluation, first = DomainEvaluation(name, batches.names, dataset, plan), 0
    scored: Iterable[EvaluatedBatch] = batches
    for batch in scored:
        evaluation.score(batch, first)
        first += len(batch.truths)
    return evaluation.finish()


class DrawnMaps:
    """The predicted maps of the images that are drawn; see :class:`opsnet.metrics.merging.Mergeable`."""

    def __init__(self) -> None:
        self.sums: dict[str, IntArray] = {}
        self.records: dict[str, dict[int, Any]] = {"maps": {}}

    @property
    def maps(self) -> dict[int, Any]:
        """The stored maps, by the image's position."""
        return self.records["maps"]

    def add(self, index: int, predicted: PanopticMap) -> None:
        """Adds the map of the image at this position of the dataset."""
        ids = predicted.ids.cpu().numpy().astype(np.int32)
        packed = base64.b64encode(zlib.compress(ids.tobytes(), 1)).decode("ascii")
        self.maps[index] = [list(ids.shape), packed, [dataclasses.asdict(segment) for segment in predicted.segments]]

    def read(self, index: int) -> PanopticMap:
        """The map of the image at this position."""
        shape, packed, segments = self.maps[index]
        ids = np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.int32).reshape(shape)
        return PanopticMap(torch.from_numpy(ids.astype(np.int64)), tuple(Segment(**segment) for segment in segments))


def _draw(path: Path, dataset: PanopticDataset, drawn: DrawnMaps, names: Sequence[str]) -> None:
    from opsnet.visualization.overlays import panel

    rows = []
    for index in sorted(drawn.maps):
        truth = dataset.truth(index)
        rows.append((dataset.read_image(index), PanopticMap(truth.ids, truth.segments), drawn.read(index)))
    panel(rows, names, ("image", "ground truth", "prediction"), path)
