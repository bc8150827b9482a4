"""Loaders whose order and augmentation resume exactly after an interruption.

The training order is a function of (seed, epoch) and an image's augmentation a function of (seed, epoch, index), so no
random state has to be stored. The loaders are not instances of ``torch.utils.data.DataLoader``, so Lightning does not
replace their samplers, whatever ``Trainer(use_distributed_sampler=...)`` is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from opsnet.data.samplers import ResumableSampler
from opsnet.utils.errors import DatasetError
from opsnet.utils.seeding import mix_seed
from opsnet.utils.stop_signals import begin_worker

Item = TypeVar("Item")


def batches_of(loader: DataLoader[Any]) -> Iterator[Any]:
    """Yields the batches of one pass, as the loader's ``collate_fn`` makes them, and ends its workers with it.

    Raises:
        DatasetError: that of a worker, with its message, into which PyTorch puts the worker's whole traceback.
    """
    batches = iter(loader)
    try:
        yield from batches
    except DatasetError as error:
        _, mark, sentence = str(error).rpartition(f"{DatasetError.__name__}: ")
        if not mark:
            raise
        raise DatasetError(sentence.strip()) from error
    finally:
        # An error's traceback keeps the workers' queues. The garbage collector closes them before it ends the workers,
        # and then waits for each of them for five seconds.
        if isinstance(batches, _MultiProcessingDataLoaderIter):
            batches._shutdown_workers()


class SeededDataset(Dataset[Item]):
    """Indexes ``dataset`` by (epoch, index), with torch's random state a function of (seed, epoch, index)."""

    def __init__(self, dataset: Dataset[Item], seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, key: tuple[int, int]) -> Item:
        epoch, index = key
        # Seed only the CPU generator: torch.manual_seed would also reseed the GPU's, which belongs to the model.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(mix_seed(self.seed, epoch, index))
            return self.dataset[index]


class ResumableLoader:
    """Training batches that can be resumed within an epoch from Lightning's checkpoints.

    Args:
        dataset: images by index.
        sampler: their order.
        collate_fn: images -> batch.
        num_workers: worker processes, restarted in each epoch so that none outlives an interrupted run.
        progress: returns the epoch and the number of its trained batches; called when the first batch is requested.
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
        self._sampler = sampler  # private, or Lightning would set its epoch; see PanopticDataModule._progress
        self._progress = progress
        self._loader = DataLoader(
            SeededDataset(dataset, sampler.seed),
            batch_sampler=sampler,
            collate_fn=collate_fn,
            num_workers=num_workers,
            worker_init_fn=begin_worker,
            generator=torch.Generator(),  # otherwise each epoch would draw a number from the global generator
        )

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[Any]:
        # A generator function, so that this runs at the first batch: Lightning calls iter() before restoring its
        # progress.
        self._sampler.set_epoch(*self._progress())
        yield from self._batches()

    def _batches(self) -> Iterator[Any]:
        """The remaining batches of the sampler's epoch."""
        yield from batches_of(self._loader)

    def state_dict(self) -> dict[str, int]:
        """The values that determine the order; Lightning stores them in checkpoints."""
        s = self._sampler
        shares = {"world_size": s.world_size, "accumulate_grad_batches": s.accumulate}
        return {"images": s.size, "batch_size": s.step_size, **shares, "seed": s.seed}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Checks that the order matches the checkpoint's; Lightning itself restores the position.

        Lightning calls this when it resumes within an epoch, and with ``max_steps`` always: it then keeps counting
        batches past an epoch's end, so a longer epoch would continue with images of another order.

        Raises:
            DatasetError: the order differs from the checkpoint's.
        """
        # Older checkpoints have "pictures" for "images", and none for accumulation, which did not exist.
        own, state = self.state_dict(), {"accumulate_grad_batches": 1, "images": state.get("pictures", 0), **state}
        changed = [f"{key} was {state.get(key)} and is {own[key]}" for key in own if state.get(key) != own[key]]
        if changed:
            raise DatasetError(
                f"this checkpoint was trained with another order of images ({', '.join(changed)}): restore these "
                "values, or, if max_epochs and not max_steps limits the run, resume from a checkpoint of an epoch's end"
            )


class CyclingLoader(ResumableLoader):
    """A secondary stream that cycles through its own epochs while the main stream defines the trainer's epochs.

    Args:
        steps: batches per epoch of the main stream, and so per iteration of this one.
        progress: returns this stream's number of trained batches over all epochs, and the number of batches left in the
            main stream's current epoch.
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
    """Every image exactly once, in order, with the same number of batches on every process.

    The numbers are equal because the other processes would wait for one with fewer batches; and no image is repeated,
    as it would be by Lightning's own sampler, because PQ would count it twice. So batch sizes may differ by one.

    Args:
        dataset: images by index.
        batch_size: images per batch; if it is 1 and the processes do not divide the set, some batches hold 2.
        collate_fn: images -> batch.
        num_workers: worker processes.
        rank, world_size: of this process.

    Raises:
        DatasetError: the set has fewer images than there are processes.
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
                f"a set of {size} images cannot be split over {world_size} processes: evaluate on fewer devices"
            )
        count = world_size * math.ceil(size / (world_size * batch_size))
        if count > size:
            count = world_size * (size // world_size)
        self.batches = [part.tolist() for part in np.array_split(np.arange(size), count)[rank::world_size]]
        self.dataset, self._collate, self._workers = dataset, collate_fn, num_workers

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        yield from self.read(range(len(self)))

    def read(self, chosen: Iterable[int]) -> Iterator[Any]:
        """Yields only some of the batches, by their index in ``batches``."""
        loader = DataLoader(
            self.dataset,
            batch_sampler=[self.batches[index] for index in chosen],
            collate_fn=self._collate,
            num_workers=self._workers,
            worker_init_fn=begin_worker,
            generator=torch.Generator(),
        )
        yield from batches_of(loader)
