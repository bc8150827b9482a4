"""Average precision of one setting: instances from proposals against things of the maps, or those of LVIS' json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from opsnet.metrics.average_precision import (
    MAX_DETECTIONS,
    ImageInstances,
    InstanceRecords,
    InstanceResult,
    summarise_instances,
)
from opsnet.metrics.federated import MAX_DETECTIONS as FEDERATED_DETECTIONS
from opsnet.metrics.federated import FederatedTruth, federated, group_averages
from opsnet.metrics.instances import instances_from_map, instances_from_proposals
from opsnet.structures import GroundTruth


class InstanceDetails:
    """Accumulates the instances of all images.

    Args:
        rankings: suffixes of the metrics, one for each way to rank detections.
        is_thing: M flags.
        truth: the ground truth, if it is not that of the panoptic maps.

    Attributes:
        records: the instances by ranking.
    """

    def __init__(self, rankings: Sequence[str], is_thing: Sequence[bool], truth: FederatedTruth | None = None) -> None:
        self.records = {ranking: InstanceRecords() for ranking in rankings}
        self.is_thing, self.truth = is_thing, truth
        self.limit = MAX_DETECTIONS if truth is None else FEDERATED_DETECTIONS
        self._results: dict[str, tuple[int, InstanceResult]] = {}

    def add(self, probabilities: Tensor, scores: Mapping[str, Tensor], truth: GroundTruth, index: int) -> None:
        """Adds one image.

        Args:
            probabilities: (K, H, W), of the masks.
            scores: (K, M) of the pairs of a proposal and a name, by ranking.
            truth: the image's panoptic ground truth.
            index: the image's position in the dataset.
        """
        own = None if self.truth is None else self.truth.image(index)
        for ranking, records in self.records.items():
            found = instances_from_proposals(probabilities, scores[ranking], self.is_thing, top=self.limit)
            if own is None:
                records.add(index, ImageInstances(found, instances_from_map(truth)))
            else:
                records.add(index, federated(found, own))

    def precision(self, ranking: str) -> InstanceResult:
        """Average precision over the images so far; of a ranking that is not computed, that of the first."""
        ranking = ranking if ranking in self.records else next(iter(self.records))
        count = len(self.records[ranking].records["images"])
        if (known := self._results.get(ranking)) is None or known[0] != count:
            images = self.records[ranking].images()
            known = count, summarise_instances(images, len(self.is_thing), self.limit)
            self._results[ranking] = known
        return known[1]

    def metrics(self, ranking: str) -> dict[str, float]:
        """``AP``, ``AP50`` and ``AP75`` in percent; by LVIS' rule ``APr``, ``APc`` and ``APf`` too."""
        result = self.precision(ranking)
        return {**result.as_dict(), **(group_averages(result, self.truth.groups) if self.truth else {})}
