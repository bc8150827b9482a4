"""``PanopticDataModule``: batches for Lightning whose order and augmentation survive an interruption exactly.

The order of training is a function of (seed, epoch) and the augmentation of a picture one of (seed, epoch, index), so
nothing of it needs to be stored: a run that resumes within an epoch asks Lightning how many of its batches are trained
and goes on with the next one, whatever worker processes had fetched ahead.

Every process of a DDP run takes its own share of the pictures. The loaders are no ``torch.utils.data.DataLoader``, so
Lightning leaves them alone whether ``Trainer(use_distributed_sampler=...)`` is true or false.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningDataModule
from torch import distributed
from torch.utils.data import DataLoader, Dataset, Sampler

from opsnet.data.panoptic_dataset import DatasetError, PanopticDataset, Sample
from opsnet.structures import Batch, SegmentTargets
from opsnet.vocabulary import Vocabulary

Item = TypeVar("Item")
Builder = Callable[[], PanopticDataset]
CHECKED_BELOW = 20_000  # pictures; reading the PNGs of a larger set before each run takes minutes


def collate(samples: Sequence[Sample], *, vocabulary: str, size_divisor: int = 32, with_truth: bool = False) -> Batch:
    """One batch, padded with zeros at the right and bottom to a common size, a multiple of ``size_divisor`` pixels."""
    sizes = [(int(s.image.shape[1]), int(s.image.shape[2])) for s in samples]
    height, width = (math.ceil(max(side) / size_divisor) * size_divisor for side in zip(*sizes, strict=True))
    images = torch.zeros(len(samples), 3, height, width)
    for image, sample, (h, w) in zip(images, samples, sizes, strict=True):
        image[:, :h, :w] = sample.image if sample.image.is_floating_point() else sample.image / 255
    masks = [F.pad(s.masks, (0, width - w, 0, height - h)) for s, (h, w) in zip(samples, sizes, strict=True)]
    return Batch(
        images=images,
        valid_sizes=sizes,
        image_ids=[s.image_id for s in samples],
        vocabulary=vocabulary,
        targets=SegmentTargets(masks=masks, labels=[s.labels for s in samples]),
        panoptic=[s.truth for s in samples] if with_truth else [],
    )


def mix_seed(*parts: int) -> int:
    """A seed from several numbers >= 0, such that neighbouring numbers give unrelated seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


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
    """This process's training batches as lists of (epoch, index), each picture at most once an epoch.

    The pictures that fill no whole batch on every process are left out, different ones each epoch.

    Args:
        size: pictures in the set.
        batch_size: pictures a batch and process.
        seed: of the order, together with the epoch.
        rank, world_size: which of how many processes this is.
        shuffle: ``False`` keeps the order of the set.

    Attributes:
        epoch: set by ``set_epoch``, as Lightning does before each epoch.
        start: batches of the epoch to skip.

    Raises:
        DatasetError: not even one batch on every process.
    """

    def __init__(
        self, size: int, *, batch_size: int, seed: int = 0, rank: int = 0, world_size: int = 1, shuffle: bool = True
    ) -> None:
        if size < batch_size * world_size:
            raise DatasetError(
                f"the training set has {size} pictures, fewer than one batch on each process "
                f"({batch_size} x {world_size}): lower `batch_size` or the number of devices, or raise `limit`"
            )
        self.size, self.batch_size, self.seed, self.shuffle = size, batch_size, seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.epoch = self.start = 0

    def set_epoch(self, epoch: int) -> None:
        """Makes the next iteration that of ``epoch``."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size // (self.batch_size * self.world_size)

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
        dataset: pictures by index.
        sampler: their order; Lightning finds it as the attribute ``sampler`` and sets its epoch.
        collate_fn: pictures -> batch.
        num_workers: worker processes, new ones each epoch, so that none outlives an interrupted run.
        trained: how many batches of the epoch are trained already, asked when its first batch is wanted.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        sampler: ResumableSampler,
        *,
        collate_fn: Callable[[list[Any]], Any],
        num_workers: int = 0,
        trained: Callable[[], int] = lambda: 0,
    ) -> None:
        self.sampler = sampler
        self._trained = trained
        self._loader = DataLoader(
            SeededDataset(dataset, sampler.seed),
            batch_sampler=sampler,
            collate_fn=collate_fn,
            num_workers=num_workers,
            generator=torch.Generator(),  # without it, each epoch draws a number from the model's generator
        )

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Any]:
        # A generator, so that this runs at the first batch: Lightning calls iter() before it sets epoch and progress.
        self.sampler.start = self._trained()
        yield from self._loader

    def state_dict(self) -> dict[str, int]:
        """What the order depends on; Lightning stores it in checkpoints."""
        s = self.sampler
        return {"pictures": s.size, "batch_size": s.batch_size, "world_size": s.world_size, "seed": s.seed}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Checks that the order is still that of the checkpoint; where to continue, Lightning itself knows.

        Lightning calls it when it resumes within an epoch, and under ``max_steps`` always: there it counts batches on
        from an epoch's end too, so a longer epoch would be continued with pictures of another order.

        Raises:
            DatasetError: the order is another one.
        """
        own = self.state_dict()
        changed = [f"{key} was {state.get(key)} and is {own[key]}" for key in own if state.get(key) != own[key]]
        if changed:
            raise DatasetError(
                f"this checkpoint belongs to another order of pictures ({', '.join(changed)}): restore these values, "
                "or, where max_epochs and not max_steps bounds the run, resume from a checkpoint of an epoch's end"
            )


class EvaluationLoader:
    """All pictures once, in order, the same number of batches on every process.

    Equal numbers, because a process with fewer batches leaves the others waiting; and no picture twice, as Lightning's
    own sharding would have it, because PQ would count it twice. So sizes of batches differ by one where they must.

    Args:
        dataset: pictures by index.
        batch_size: pictures a batch; a batch holds one more where it is 1 and the processes do not divide the set.
        collate_fn: pictures -> batch.
        num_workers: worker processes.
        rank, world_size: which of how many processes this is.

    Raises:
        DatasetError: fewer pictures than processes.
    """

    def __init__(
        self,
        dataset: PanopticDataset,
        *,
        batch_size: int,
        collate_fn: Callable[[list[Any]], Any],
        num_workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        size = len(dataset)
        if size < world_size:
            raise DatasetError(
                f"{dataset.annotations} gives {size} pictures to {world_size} processes: evaluate on fewer devices"
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
        return iter(self._loader)


class PanopticDataModule(LightningDataModule):
    """Training, validation and test sets as ``Batch`` loaders. Nothing is read before ``setup``.

    Args:
        train: the training set, or what builds it (Hydra: ``_partial_: true``).
        val: the validation set, likewise.
        test: test sets by domain name, likewise.
        batch_size: pictures a training batch and process.
        eval_batch_size: pictures an evaluation batch and process.
        num_workers: worker processes of each loader.
        seed: of order and augmentation.
        size_divisor: padded sizes are multiples of so many pixels.
        check_files: read all PNGs before the run starts; ``None``: those of sets below 20,000 pictures.
        prepare: called once a machine before anything is read, to write what is not there yet.

    Attributes:
        datasets: what ``setup`` built, by ``train``, ``val`` and ``test/<domain>``.

    Raises:
        DatasetError: a number out of range.
    """

    def __init__(
        self,
        *,
        train: PanopticDataset | Builder | None = None,
        val: PanopticDataset | Builder | None = None,
        test: Mapping[str, PanopticDataset | Builder] | None = None,
        batch_size: int,
        eval_batch_size: int = 1,
        num_workers: int = 0,
        seed: int = 0,
        size_divisor: int = 32,
        check_files: bool | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        super().__init__()
        least = {"batch_size": 1, "eval_batch_size": 1, "num_workers": 0, "seed": 0, "size_divisor": 1}
        given = dict(zip(least, (batch_size, eval_batch_size, num_workers, seed, size_divisor), strict=True))
        for key, value in given.items():
            if value < least[key]:
                raise DatasetError(f"{key} must be at least {least[key]}, got {value}: change `{key}`")
        self.batch_size, self.eval_batch_size, self.num_workers = batch_size, eval_batch_size, num_workers
        self.seed, self.size_divisor, self.check_files = seed, size_divisor, check_files
        self.prepare = prepare
        self.builders = {"train": train, "val": val, **{f"test/{k}": v for k, v in (test or {}).items()}}
        self.datasets: dict[str, PanopticDataset] = {}

    @property
    def test_names(self) -> tuple[str, ...]:
        """Names of the test domains; the position is Lightning's ``dataloader_idx``."""
        return tuple(key.removeprefix("test/") for key in self.builders if key.startswith("test/"))

    @property
    def vocabularies(self) -> dict[str, Vocabulary]:
        """Vocabularies of all built sets, by name: what ``Batch.vocabulary`` refers to."""
        return {d.vocabulary.name: d.vocabulary for d in self.datasets.values()}

    def prepare_data(self) -> None:
        """Writes what ``prepare`` writes; Lightning calls it on one process a machine."""
        if self.prepare is not None:
            self.prepare()

    def setup(self, stage: str | None = None) -> None:
        """Builds and checks the sets of a stage: ``fit``, ``validate``, ``test``, or ``None`` for all.

        Raises:
            DatasetError: a set is faulty, or two vocabularies share a name.
        """
        prefixes = {"fit": ("train", "val"), "validate": ("val",), "test": ("test/",), "predict": ()}
        wanted = prefixes.get(stage or "", ("",))
        for key, builder in self.builders.items():
            if builder is None or key in self.datasets or not key.startswith(wanted):
                continue
            dataset = builder if isinstance(builder, PanopticDataset) else builder()
            other = self.vocabularies.get(dataset.vocabulary.name, dataset.vocabulary)
            if other != dataset.vocabulary:
                raise DatasetError(
                    f"set '{key}' has another vocabulary of the name '{other.name}' than the sets before it: "
                    "put one of the two into a file of another name"
                )
            if self.check_files or (self.check_files is None and len(dataset) < CHECKED_BELOW):
                dataset.check_pixels(_rank_and_world_size())
            self.datasets[key] = dataset

    def train_dataloader(self) -> ResumableLoader:
        """Batches without ``panoptic``, shuffled unless ``Trainer(overfit_batches=...)`` repeats the first ones."""
        dataset = self._built("train")
        rank, world_size = _rank_and_world_size()
        overfit = getattr(self.trainer, "overfit_batches", 0) > 0
        sampler = ResumableSampler(
            len(dataset),
            batch_size=self.batch_size,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            shuffle=not overfit,
        )
        return ResumableLoader(
            dataset, sampler, collate_fn=self._collate(dataset), num_workers=self.num_workers, trained=self._trained
        )

    def val_dataloader(self) -> EvaluationLoader | list[EvaluationLoader]:
        """Batches of the validation set with ``panoptic``; none where no set was given."""
        return self._evaluation_loader("val") if self.builders["val"] is not None else []

    def test_dataloader(self) -> list[EvaluationLoader]:
        """One loader a test domain, in the order of ``test_names``."""
        return [self._evaluation_loader(f"test/{name}") for name in self.test_names]

    def _evaluation_loader(self, key: str) -> EvaluationLoader:
        dataset = self._built(key)
        rank, world_size = _rank_and_world_size()
        return EvaluationLoader(
            dataset,
            batch_size=self.eval_batch_size,
            collate_fn=self._collate(dataset, with_truth=True),
            num_workers=self.num_workers,
            rank=rank,
            world_size=world_size,
        )

    def _collate(self, dataset: PanopticDataset, with_truth: bool = False) -> Callable[[list[Sample]], Batch]:
        name = dataset.vocabulary.name
        return partial(collate, vocabulary=name, size_divisor=self.size_divisor, with_truth=with_truth)

    def _built(self, key: str) -> PanopticDataset:
        if key not in self.datasets:
            raise DatasetError(
                f"there is no set '{key}': give it in `data.{key.replace('/', '.')}` and call setup first"
            )
        return self.datasets[key]

    def _trained(self) -> int:
        """Batches of the running epoch behind Lightning, which is the only one to know them after an interruption."""
        return self.trainer.fit_loop.epoch_loop.batch_progress.current.ready if self.trainer is not None else 0


def _rank_and_world_size() -> tuple[int, int]:
    """Which of how many processes this is."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
