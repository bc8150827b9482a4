"""Where the network's outputs come from: from the network, kept on the way if asked for, or from the disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Protocol

import torch

from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.evaluation.proposal_files import ProposalsError
from opsnet.evaluation.store import ProposalWriter, StoredDomain
from opsnet.inference.names import DomainNames
from opsnet.inference.network_output import NetworkOutput, run_network
from opsnet.inference.trained_model import TrainedModel
from opsnet.structures import Batch, GroundTruth


@dataclass(frozen=True)
class EvaluatedBatch:
    """The network's output for one batch, and its ground truth, at whose size the maps are."""

    output: NetworkOutput
    truths: list[GroundTruth]

    @classmethod
    def of(cls, output: NetworkOutput, truths: Iterable[GroundTruth], device: torch.device) -> EvaluatedBatch:
        """Both on one device."""
        moved = [GroundTruth(truth.ids.to(device), truth.segments) for truth in truths]
        sizes = tuple((truth.ids.shape[0], truth.ids.shape[1]) for truth in moved)
        return cls(dataclasses.replace(output, map_sizes=sizes).to(device), moved)


class Source(Protocol):
    """The batches of one domain."""

    names: DomainNames

    @property
    def kept(self) -> int:
        """Bytes of proposals that this source has written."""

    def __len__(self) -> int:
        """Batches."""

    def __iter__(self) -> Iterator[EvaluatedBatch]: ...


class NetworkSource:
    """Runs the network.

    Args:
        trained: the network.
        loader: batches of ``dataset`` in its order.
        dataset: the pictures.
        sources: of CLIP's embeddings.
        writer: stores the network's output.
    """

    def __init__(
        self, trained: TrainedModel, loader: Iterable[Batch], dataset: PanopticDataset, sources: Collection[str],
        writer: ProposalWriter | None = None,
    ) -> None:  # fmt: skip
        self.trained, self.loader, self.sources, self.writer = trained, loader, tuple(sources), writer
        self.names = trained.domain(dataset.vocabulary)

    @property
    def kept(self) -> int:
        """Bytes of proposals that this source has written."""
        return self.writer.stored.bytes() if self.writer else 0

    def __len__(self) -> int:
        assert isinstance(self.loader, Sized)
        return len(self.loader)

    def __iter__(self) -> Iterator[EvaluatedBatch]:
        device = self.names.no_object_embed.device
        for index, batch in enumerate(self.loader):
            output = self.writer.earlier(index, batch.image_ids) if self.writer else None
            if output is None:
                output = run_network(self.trained.model, batch.to(device), self.sources)
                if self.writer:
                    self.writer.keep(index, output)
            yield EvaluatedBatch.of(output, batch.panoptic, device)


class StoredSource:
    """Reads what was kept; of the pictures, only the truth.

    Args:
        stored: the proposals.
        dataset: the pictures that they are of.
        device: to score on.
        sources: of CLIP's embeddings that will be asked for.

    Raises:
        ProposalsError: the proposals are of another vocabulary or number of pictures, or lack a source.
    """

    def __init__(
        self, stored: StoredDomain, dataset: PanopticDataset, device: torch.device | str, sources: Sequence[str]
    ) -> None:
        stored.require_vocabulary(dataset.vocabulary)
        pictures = sum(stored.about["batch_sizes"])
        if pictures != len(dataset):
            raise ProposalsError(
                f"{stored.folder} holds {pictures} pictures, the data {len(dataset)}: give the data as they were"
            )
        lacking = set(sources) - set(stored.sources)
        if lacking:
            raise ProposalsError(
                f"{stored.folder} holds no embeddings of {', '.join(sorted(lacking))}: leave these settings out, or "
                "save the proposals again with them among `settings`"
            )
        self.stored, self.dataset, self.device = stored, dataset, torch.device(device)
        self.names = stored.names().to(self.device)
        self.kept = 0

    def __len__(self) -> int:
        return int(self.stored.about["batches"])

    def __iter__(self) -> Iterator[EvaluatedBatch]:
        known, first = self.dataset.image_ids, 0
        for output in self.stored.batches():
            last = first + len(output)
            if known[first:last] != list(output.image_ids):
                raise ProposalsError(
                    f"{self.stored.folder} is of other pictures than the data (from picture {first} on): give the data "
                    "as they were, for the miniature the same seed"
                )
            yield EvaluatedBatch.of(output, map(self.dataset.truth, range(first, last)), self.device)
            first = last
