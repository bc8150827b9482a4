"""Sources of network outputs: the network itself, which may store them on the way, or stored proposals."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import torch

from opsnet.data.loaders import EvaluationLoader
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.evaluation.data_hash import data_hashes, differing
from opsnet.evaluation.ground_truth_masks import run_with_ground_truth
from opsnet.evaluation.proposal_files import ProposalsError
from opsnet.evaluation.store import ProposalWriter, StoredDomain
from opsnet.inference.names import DomainNames
from opsnet.inference.network_output import NetworkOutput, check_sources, run_network
from opsnet.inference.trained_model import TrainedModel
from opsnet.metrics.speed import Times, Watch
from opsnet.structures import GroundTruth


@dataclass(frozen=True)
class EvaluatedBatch:
    """The network's output for one batch and its ground truth, which sets the size of the maps.

    Attributes:
        output, truths: of its B images.
        given: the outputs for the ground truth's masks, of one image each; empty if they are not classified.
        times: how long it took; ``None`` if that does not count.
    """

    output: NetworkOutput
    truths: list[GroundTruth]
    given: Sequence[NetworkOutput] = ()
    times: Times | None = None

    @classmethod
    def of(
        cls, output: NetworkOutput, truths: Iterable[GroundTruth], device: torch.device,
        given: Sequence[NetworkOutput] = (), times: Times | None = None,
    ) -> EvaluatedBatch:  # fmt: skip
        """Both on one device."""
        moved = [GroundTruth(truth.ids.to(device), truth.segments) for truth in truths]
        sizes = tuple((truth.ids.shape[0], truth.ids.shape[1]) for truth in moved)
        return cls(
            dataclasses.replace(output, map_sizes=sizes).to(device), moved, [one.to(device) for one in given], times
        )

    def to(self, device: torch.device | str) -> EvaluatedBatch:
        """The same on another device."""
        return EvaluatedBatch.of(self.output, self.truths, torch.device(device), self.given, self.times)


class Source(Protocol):
    """The batches of one domain; they are the same on any number of devices.

    Attributes:
        names: the domain's names.
        sizes: number of images of each batch.
    """

    names: DomainNames
    sizes: Sequence[int]

    @property
    def bytes_written(self) -> int:
        """Size of the stored proposals in bytes; 0 if none were written."""

    def read(self, chosen: Sequence[int]) -> Iterator[EvaluatedBatch]:
        """Yields the batches with these indices, in their order."""


class NetworkSource:
    """Runs the network.

    Args:
        trained: the network.
        loader: batches of ``dataset`` in its order.
        dataset: images of the domain.
        sources: sources of CLIP embeddings to compute.
        writer: stores the network's outputs.
        classify: whether to run the network on the ground truth's masks too.

    Raises:
        InputError: the network lacks what a source needs.
    """

    def __init__(
        self, trained: TrainedModel, loader: EvaluationLoader, dataset: PanopticDataset, sources: Collection[str],
        writer: ProposalWriter | None = None, classify: bool = False,
    ) -> None:  # fmt: skip
        check_sources(trained.model, sources)
        self.trained, self.loader, self.sources, self.writer = trained, loader, tuple(sources), writer
        self.names = trained.domain(dataset.vocabulary)
        self.sizes: Sequence[int] = [len(batch) for batch in loader.batches]
        self.classify = classify

    @property
    def bytes_written(self) -> int:
        """Size of the stored proposals in bytes; 0 if none were written."""
        return self.writer.stored.bytes() if self.writer else 0

    def __iter__(self) -> Iterator[EvaluatedBatch]:
        yield from self.read(range(len(self.sizes)))

    def read(self, chosen: Sequence[int]) -> Iterator[EvaluatedBatch]:
        """Yields the batches with these indices, in their order; stores them if there is a writer."""
        device = self.names.no_object_embed.device
        watch = Watch(device)
        for index, batch in zip(chosen, self.loader.read(chosen), strict=True):
            output = self.writer.load_cached(index, batch.image_ids) if self.writer else None
            moved = batch.to(device)
            if output is None:
                with watch.network():
                    output = run_network(self.trained.model, moved, self.sources)
                if self.writer:
                    self.writer.write(index, output)
            given = run_with_ground_truth(self.trained.model, moved) if self.classify else ()
            yield EvaluatedBatch.of(output, batch.panoptic, device, given, watch.ready())


class StoredSource:
    """Reads stored proposals; of the dataset it reads only the ground truth.

    Args:
        stored: the proposals.
        dataset: the images that the proposals belong to.
        device: device to score on.
        sources: sources of CLIP embeddings that the settings need.

    Raises:
        ProposalsError: vocabulary, images or annotations differ, or a source is missing.
    """

    def __init__(
        self, stored: StoredDomain, dataset: PanopticDataset, device: torch.device | str, sources: Sequence[str]
    ) -> None:
        stored.require_vocabulary(dataset.vocabulary)
        images = sum(stored.about["batch_sizes"])
        if images != len(dataset):
            raise ProposalsError(
                f"{stored.folder} has proposals of {images} images, but the data has {len(dataset)}: give the data "
                "with which they were stored"
            )
        if isinstance(stored.about.get("data"), dict):  # earlier versions stored no hashes
            other = differing(stored.about["data"], data_hashes(dataset))
            if other:
                raise ProposalsError(
                    f"{stored.folder} has proposals of other {' and '.join(other)} than {dataset.annotations}: give "
                    "the data with which they were stored (for the miniature the same seed), or save them again"
                )
        missing = set(sources) - set(stored.sources)
        if missing:
            raise ProposalsError(
                f"{stored.folder} has no CLIP embeddings of {', '.join(sorted(missing))}: leave these settings out, or "
                "save the proposals again with them among `settings`"
            )
        self.stored, self.dataset, self.device = stored, dataset, torch.device(device)
        self.names = stored.names().to(self.device)
        self.sizes: Sequence[int] = stored.about["batch_sizes"]
        self.bytes_written = 0

    def read(self, chosen: Sequence[int]) -> Iterator[EvaluatedBatch]:
        """Yields the batches with these indices, in their order.

        Raises:
            ProposalsError: a file is damaged, or does not belong to the data.
        """
        known, ends = self.dataset.image_ids, list(accumulate(self.sizes))
        for index in chosen:
            output, last = self.stored.batch(index), ends[index]
            first = last - self.sizes[index]
            if known[first:last] != list(output.image_ids):
                raise ProposalsError(
                    f"{self.stored.folder} has proposals of other images than the data (from image {first} on): give "
                    "the data with which they were stored, for the miniature the same seed"
                )
            if output.proposals.query_embeds.shape[2:] != self.names.no_object_embed.shape:
                raise ProposalsError(
                    f"{self.stored.folder} has text embeddings of another length than its proposals: save them again"
                )
            yield EvaluatedBatch.of(output, map(self.dataset.truth, range(first, last)), self.device)
