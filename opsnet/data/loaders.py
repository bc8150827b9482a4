"""Loaders whose order and augmentation survive an interruption exactly.

The order of training is a function of (seed, epoch) and the augmentation of an image one of (seed, epoch, index), so
nothing of it needs to be stored. The loaders are no ``torch.utils.data.DataLoader``, so Lightning leaves them alone
whether ``Trainer(use_distributed_sampler=...)`` is true or false.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from opsnet.utils.errors import DatasetError
from opsnet.utils.seeding import mix_seed

Item = TypeVar("Item")


@contextmanager
def unwrap_worker_errors() -> Iterator[None]:
    """Gives the sentence of a worker process's ``DatasetError`` back: PyTorch passes it on as a whole traceback."""
    try:
        yield
    except DatasetError as error:
        _, mark, sentence = str(error).rpartition(f"{DatasetError.__name__}: ")
        if not mark:
            raise
        raise DatasetError(sentence.strip()) from error


class SeededDataset(Dataset[Item]):
    """Items by (epoch, index); all that ``dataset`` draws from torch is a function of (seed, epoch, index)."""

    def __init__(self, dataset: Dataset[Item], seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, key: tuple[int, int]) -> Item:
        epoch, index = key
        # Only the CPU's generator: torch.manual_seed would also reseed the GPU's, which belongs to the model.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(mix_seed(self.seed, epoch, index))
            return self.dataset[index]


class ResumableSampler(Sampler[list[tuple[int, int]]]):
    """This process's training batches as lists of (epoch, index), each image at most once an epoch.

    The images that fill no whole step are left out, different ones each epoch. Which images a step has depends on
    their number alone, not on how they are shared.

    Args:
        size: images in the set.
        batch_size: images a batch and process.
        seed: of the order, together with the epoch.
        rank, world_size: which of how many processes this is.
        accumulate: batches of a process in an optimiser step.
        shuffle: ``False`` keeps the order of the set.

    Raises:
        DatasetError: not even one step.
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
    ) -> None:
        self.size, self.batch_size, self.seed, self.shuffle = size, batch_size, seed, shuffle
        self.rank, self.world_size, self.accumulate = rank, world_size, accumulate
        if size < self.step_size:
            raise DatasetError(
                f"the training set has {size} images, fewer than the {self.step_size} of one step: "
                "lower `batch_size`, or raise `limit`"
            )
        self.set_epoch(0)

    @property
    def step_size(self) -> int:
        """Images of an optimiser step, over all processes."""
        return self.batch_size * self.world_size * self.accumulate

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Makes the next iteration that of ``epoch``, without its first ``start`` batches."""
        self.epoch, self.start = epoch, start

    def __len__(self) -> int:
        return self.size // self.step_size * self.accumulate

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        generator = torch.Generator().manual_seed(mix_seed(self.seed, self.epoch))
        order = torch.randperm(self.size, generator=generator) if self.shuffle else torch.arange(self.size)
        own = order[self.rank :: self.world_size].tolist()
        epoch = self.epoch
        for first in range(self.start * self.batch_size, len(self) * self.batch_size, self.batch_size):
            yield [(epoch, index) for index in own[first : first + self.batch_size]]


class ResumableLoader:
    """Training batches that Lightning's checkpoints can resume within an epoch.

    Args:
        dataset: images by index.
        sampler: their order.
        collate_fn: images -> batch.
        num_workers: worker processes, new ones each epoch, so that none outlives an interrupted run.
        progress: the epoch, and how many of its batches are trained already; asked when its first batch is wanted.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        sampler: ResumableSampler,
        *,
        collate_fn: Callable[[list[Any]], Any],
        num_workers: int = 0,
        progress: Callable[[], tuple[int, int]],
    ) -> None:
        self._sampler = sampler  # not public, or Lightning would set its epoch; see PanopticDataModule._progress
        self._progress = progress
        self._loader = DataLoader(
            SeededDataset(dataset, sampler.seed),
            batch_sampler=sampler,
            collate_fn=collate_fn,
            num_workers=num_workers,
            generator=torch.Generator(),  # without it, each epoch draws a number from the model's generator
        )

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[Any]:
        # A generator, so that this runs at the first batch: Lightning calls iter() before it restores its progress.
        self._sampler.set_epoch(*self._progress())
        yield from self._batches()

    def _batches(self) -> Iterator[Any]:
        """What is left of the sampler's epoch."""
        with unwrap_worker_errors():
            yield from self._loader

    def state_dict(self) -> dict[str, int]:
        """What the order depends on; Lightning stores it in checkpoints."""
        s = self._sampler
        shares = {"world_size": s.world_size, "accumulate_grad_batches": s.accumulate}
        return {"images": s.size, "batch_size": s.step_size, **shares, "seed": s.seed}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Checks that the order is still that of the checkpoint; where to continue, Lightning itself knows.

        Lightning calls it when it resumes within an epoch, and under ``max_steps`` always: there it counts batches on
        from an epoch's end too, so a longer epoch would be continued with images of another order.

        Raises:
            DatasetError: the order is another one.
        """
        own, state = self.state_dict(), {"accumulate_grad_batches": 1, **state}  # which was all that there was once
        changed = [f"{key} was {state.get(key)} and is {own[key]}" for key in own if state.get(key) != own[key]]
        if changed:
            raise DatasetError(
                f"this checkpoint belongs to another order of images ({', '.join(changed)}): restore these values, "
                "or, where max_epochs and not max_steps bounds the run, resume from a checkpoint of an epoch's end"
            )


class CyclingLoader(ResumableLoader):
    """A stream beside another one that counts the epochs: it goes round on its own, with epochs of its own.

    Args:
        steps: batches of an epoch of the other stream, which is as many as this one gives at a time.
        progress: batches of this stream that are trained already, over all epochs; and how many are still to be given
            in the running epoch of the other stream.
        others: as for :class:`ResumableLoader`.
    """

    def __init__(self, *args: Any, steps: int, progress: Callable[[], tuple[int, int]], **others: Any) -> None:
        super().__init__(*args, progress=progress, **others)
        self._steps = steps

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[Any]:
        trained, left = self._progress()
        while left > 0:
            self._sampler.set_epoch(*divmod(trained, len(self._sampler)))
            for batch in islice(self._batches(), left):
                yield batch
                trained, left = trained + 1, left - 1


class EvaluationLoader:
    """All images once, in order, the same number of batches on every process.

    Equal numbers, because a process with fewer batches leaves the others waiting; and no image twice, as Lightning's
    own sharding would have it, because PQ would count it twice. So sizes of batches differ by one where they must.

    Args:
        dataset: images by index.
        batch_size: images a batch; a batch holds one more where it is 1 and the processes do not divide the set.
        collate_fn: images -> batch.
        num_workers: worker processes.
        rank, world_size: which of how many processes this is.

    Raises:
        DatasetError: fewer images than processes.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        batch_size: int,
        collate_fn: Callable[[list[Any]], Any],
        num_workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        size = len(dataset)  # type: ignore[arg-type]
        if size < world_size:
            raise DatasetError(
                f"a set of {size} images cannot be shared by {world_size} processes: evaluate on fewer devices"
            )
        count = world_size * math.ceil(size / (world_size * batch_size))
        if count > size:
            count = world_size * (size // world_size)
        self.batches = [part.tolist() for part in np.array_split(np.arange(size), count)[rank::world_size]]
        self._loader = DataLoader(
            dataset,
            batch_sampler=self.batches,
            collate_fn=collate_fn,
            num_workers=num_workers,
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        with unwrap_worker_errors():
            yield from self._loader
