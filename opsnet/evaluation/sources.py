"""Where the network's outputs come from: from the network, kept on the way if asked for, or from the disk."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Protocol

import torch

from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.evaluation.outputs import DomainText, Outputs, run_network
from opsnet.evaluation.proposal_files import ProposalsError
from opsnet.evaluation.store import ProposalWriter, StoredDomain
from opsnet.inference.trained_model import TrainedModel
from opsnet.structures import Batch, GroundTruth


@dataclass(frozen=True)
class Answered:
    """One batch: what the network said of it, and its truth."""

    outputs: Outputs
    truths: list[GroundTruth]


class Source(Protocol):
    """The answered batches of one domain."""

    text: DomainText

    @property
    def kept(self) -> int:
        """Bytes of proposals that this source has written."""

    def __len__(self) -> int:
        """Batches."""

    def __iter__(self) -> Iterator[Answered]: ...


class NetworkSource:
    """Runs the network.

    Args:
        trained: the network.
        loader: batches of ``dataset`` in its order.
        dataset: the pictures.
        sources: of CLIP's embeddings.
        writer: keeps what the network says.
    """

    def __init__(
        self, trained: TrainedModel, loader: Iterable[Batch], dataset: PanopticDataset, sources: Collection[str],
        writer: ProposalWriter | None = None,
    ) -> None:  # fmt: skip
        self.trained, self.loader, self.sources, self.writer = trained, loader, tuple(sources), writer
        self.text = DomainText.of(trained, dataset.vocabulary)

    @property
    def kept(self) -> int:
        """Bytes of proposals that this source has written."""
        return self.writer.stored.bytes() if self.writer else 0

    def __len__(self) -> int:
        assert isinstance(self.loader, Sized)
        return len(self.loader)

    def __iter__(self) -> Iterator[Answered]:
        device = self.text.void.device
        for index, batch in enumerate(self.loader):
            outputs = self.writer.earlier(index, batch.image_ids) if self.writer else None
            if outputs is None:
                outputs = run_network(self.trained, batch.to(device), self.sources)
                if self.writer:
                    self.writer.keep(index, outputs)
            yield Answered(outputs.to(device), [_on(truth, device) for truth in batch.panoptic])


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
        self.text = stored.text().to(self.device)
        self.kept = 0

    def __len__(self) -> int:
        return int(self.stored.about["batches"])

    def __iter__(self) -> Iterator[Answered]:
        known, first = self.dataset.image_ids, 0
        for outputs in self.stored.batches():
            last = first + len(outputs.image_ids)
            if known[first:last] != outputs.image_ids:
                raise ProposalsError(
                    f"{self.stored.folder} is of other pictures than the data (from picture {first} on): give the data "
                    "as they were, for the miniature the same seed"
                )
            truths = [_on(self.dataset.truth(i), self.device) for i in range(first, last)]
            yield Answered(outputs.to(self.device), truths)
            first = last


def _on(truth: GroundTruth, device: torch.device) -> GroundTruth:
    return GroundTruth(truth.ids.to(device), truth.segments)
