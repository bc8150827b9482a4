"""The order of training images and their shares of processes and batches, functions of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

import torch
from torch import Tensor
from torch.utils.data import Sampler

from opsnet.utils.errors import DatasetError
from opsnet.utils.seeding import mix_seed

Order = Callable[[torch.Generator], Tensor]
"""A shuffled order of a set, int64 (size,)."""


class ResumableSampler(Sampler[list[tuple[int, int]]]):
    """This process's training batches as lists of (epoch, index), each image at most once per epoch.

    Images that do not fill a whole step are dropped, different ones in each epoch. The images of a step depend only on
    the total batch size, not on how it is split over processes and accumulated batches.

    Args:
        size: images in the set.
        batch_size: images per batch and process.
        seed: seed of the order, combined with the epoch.
        rank, world_size: of this process.
        accumulate: batches per process and optimizer step.
        shuffle: ``False`` keeps the order of the set.
        order: the order of an epoch, a function of its generator; ``None``: all images are shuffled.

    Raises:
        DatasetError: the set is smaller than one step.
    """

    def __init__(
        self,
        size: int,
        *,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
        shuffle: bool = True,
        order: Order | None = None,
    ) -> None:
        self.size, self.batch_size, self.seed, self.shuffle = size, batch_size, seed, shuffle
        self.order = order or partial(_shuffled, size)
        self.rank, self.world_size, self.accumulate = rank, world_size, accumulate
        if size < self.step_size:
            raise DatasetError(
                f"the training set has {size} images, fewer than the {self.step_size} of one step: "
                "lower `batch_size`, or raise `limit`"
            )
        self.set_epoch(0)

    @property
    def step_size(self) -> int:
        """Images per optimizer step, over all processes."""
        return self.batch_size * self.world_size * self.accumulate

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Makes the next iteration yield the batches of ``epoch`` after its first ``start`` ones."""
        self.epoch, self.start = epoch, start

    def __len__(self) -> int:
        return self.size // self.step_size * self.accumulate

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, order = self.epoch, self._order_of(self.epoch)
        for batch in range(self.start, len(self)):
            places = self._places(batch)
            yield [(epoch, index) for index in order[places.start : places.stop : places.step].tolist()]

    def _places(self, batch: int) -> range:
        """The places of a batch of this process in the order of the images, counted over all processes."""
        size = self.batch_size * self.world_size
        return range(batch * size + self.rank, (batch + 1) * size, self.world_size)

    def _order_of(self, epoch: int) -> Tensor:
        if not self.shuffle:
            return torch.arange(self.size)
        return self.order(torch.Generator().manual_seed(mix_seed(self.seed, epoch)))


def _shuffled(size: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(size, generator=generator)


class EndlessSampler(ResumableSampler):
    """Batches that continue from one epoch to the next, so that every image is read exactly once per epoch.

    A batch at the border has the last images of one epoch and the first of the next. All batches are full, on every
    process, whatever their number; an epoch of ``len(self)`` batches is only how positions are counted.
    """

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        orders: dict[int, Tensor] = {}
        for batch in count(self.epoch * len(self) + self.start):
            found = []
            for place in self._places(batch):
                epoch, index = divmod(place, self.size)
                if epoch not in orders:
                    orders = {k: order for k, order in orders.items() if k == epoch - 1}
                    orders[epoch] = self._order_of(epoch)
                found.append((epoch, int(orders[epoch][index])))
            yield found
