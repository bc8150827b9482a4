"""``PanopticDataModule``: a LightningDataModule whose order and augmentation resume exactly after an interruption.

The training order is a function of (seed, epoch) and an image's augmentation a function of (seed, epoch, index), so no
random state has to be stored: a resumed run gets the epoch and the number of trained batches from Lightning and
continues with the next batch, regardless of what worker processes had prefetched.

Every process of a DDP run reads its own share of the images, and training batch sizes are totals of an optimizer step
(:mod:`opsnet.data.sharing`). The loaders are not instances of ``torch.utils.data.DataLoader``, so Lightning does not
replace their samplers, whatever ``Trainer(use_distributed_sampler=...)`` is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from lightning.pytorch import LightningDataModule
from torch import distributed

from opsnet.data.batching import collate
from opsnet.data.image_label_dataset import LabelledImages
from opsnet.data.loaders import EvaluationLoader, ResumableLoader
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.data.samplers import ResumableSampler
from opsnet.data.shard_dataset import ShardDataset
from opsnet.data.sharing import batch_share, batches_per_step, checked_by_another_process
from opsnet.structures import Batch
from opsnet.utils.errors import DatasetError
from opsnet.vocabulary import Vocabulary

ImageDataset = PanopticDataset | LabelledImages
Builder = Callable[[], ImageDataset]
CHECKED_BELOW = 20_000  # images; reading the PNGs of a larger set before each run takes minutes


class PanopticDataModule(LightningDataModule):
    """Training, validation and test sets as loaders of ``Batch``. Nothing is read before ``setup``.

    Args:
        train: the training set, or a function that builds it (Hydra: ``_partial_: true``); with segments or image
            labels.
        val: the validation set or its builder.
        test: test sets or their builders, by domain name.
        batch_size: total images per optimizer step, over all processes and accumulated batches.
        device_batch_size: the most images per device and batch, see :meth:`batches_per_step`; ``None``: no limit.
        eval_batch_size: images per evaluation batch and process.
        num_workers: worker processes per loader.
        seed: seed of order and augmentation.
        size_divisor: padded sizes are multiples of this many pixels.
        check_files: whether to read all PNGs before the run starts; ``None``: only for sets below 20,000 images.
        prepare: called once per machine before anything is read, to write data that does not exist yet.

    Attributes:
        datasets: the datasets that ``setup`` built, by ``train``, ``val`` and ``test/<domain>``.

    Raises:
        DatasetError: a number is out of range.
    """

    def __init__(
        self,
        *,
        train: ImageDataset | Builder | None = None,
        val: PanopticDataset | Builder | None = None,
        test: Mapping[str, PanopticDataset | Builder] | None = None,
        batch_size: int,
        device_batch_size: int | None = None,
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
        if device_batch_size is not None:
            least["device_batch_size"], given["device_batch_size"] = 1, device_batch_size
        for key, value in given.items():
            if value < least[key]:
                raise DatasetError(f"{key} must be at least {least[key]}, got {value}: change `{key}`")
        self.device_batch_size = device_batch_size
        self.batch_size, self.eval_batch_size, self.num_workers = batch_size, eval_batch_size, num_workers
        self.seed, self.size_divisor, self.check_files = seed, size_divisor, check_files
        self.prepare = prepare
        self.builders = {"train": train, "val": val, **{f"test/{k}": v for k, v in (test or {}).items()}}
        self.datasets: dict[str, ImageDataset] = {}

    @property
    def test_names(self) -> tuple[str, ...]:
        """Names of the test domains; the position is Lightning's ``dataloader_idx``."""
        return tuple(key.removeprefix("test/") for key in self.builders if key.startswith("test/"))

    @property
    def vocabularies(self) -> dict[str, Vocabulary]:
        """Vocabularies of all built sets, by the name that ``Batch.vocabulary`` holds."""
        return {d.vocabulary.name: d.vocabulary for d in self.datasets.values()}

    @property
    def label_vocabulary(self) -> Vocabulary | None:
        """Vocabulary of the image labels trained alongside the segments; ``None`` without image labels."""
        return None

    @property
    def batch_totals(self) -> dict[str, int]:
        """Total images per optimizer step, by the configuration key that sets it."""
        return {"batch_size": self.batch_size}

    def batches_per_step(self, world_size: int) -> int:
        """The number of batches per process and step, so that no batch exceeds ``device_batch_size``.

        Raises:
            DatasetError: this number of processes cannot share a step equally.
        """
        return batches_per_step(self.batch_totals, world_size, self.device_batch_size)

    def prepare_data(self) -> None:
        """Calls ``prepare``; Lightning calls this on one process per machine."""
        if self.prepare is not None:
            self.prepare()

    def setup(self, stage: str | None = None) -> None:
        """Builds and checks the sets of a stage: ``fit``, ``validate``, ``test``, or ``None`` for all.

        On each machine the first process checks the files; once the process group is initialized, each checks a share.

        Raises:
            DatasetError: a set is invalid, or two different vocabularies share a name.
        """
        prefixes = {"fit": ("train", "val"), "validate": ("val",), "test": ("test/",), "predict": ()}
        chosen = prefixes.get(stage or "", ("",))
        for key, builder in self.builders.items():
            if builder is None or key in self.datasets or not key.startswith(chosen):
                continue
            dataset = self._build(key, builder)
            other = self.vocabularies.get(dataset.vocabulary.name, dataset.vocabulary)
            if other != dataset.vocabulary:
                raise DatasetError(
                    f"set '{key}' has a different vocabulary named '{other.name}' than the sets before it: "
                    "rename the file of one of the two"
                )
            wanted = self.check_files or (self.check_files is None and len(dataset) < CHECKED_BELOW)
            shared = _rank_and_world_size()
            if wanted and isinstance(dataset, PanopticDataset) and (shared[1] > 1 or not checked_by_another_process()):
                dataset.check_pixels(shared)
            self.datasets[key] = dataset

    def _build(self, key: str, builder: ImageDataset | Builder) -> ImageDataset:
        if not callable(builder):
            return builder
        try:
            return builder()
        except DatasetError as error:
            if not key.startswith("test/") or len(self.test_names) == 1:
                raise
            # One of several test sets: the others can still be evaluated without it.
            raise DatasetError(f"{error}; or leave this set out with '~data.module.{key.replace('/', '.')}'") from error

    def train_dataloader(self) -> ResumableLoader:
        """Training batches (``panoptic`` is empty), shuffled unless ``Trainer(overfit_batches=...)`` is set."""
        dataset = self._built("train")
        sampler = self._sampler(dataset, "batch_size", self.seed)
        return ResumableLoader(
            dataset, sampler, collate_fn=self._collate(dataset), num_workers=self.num_workers, progress=self._progress
        )

    def _sampler(
        self, dataset: ImageDataset, key: str, seed: int, kind: type[ResumableSampler] = ResumableSampler
    ) -> ResumableSampler:
        rank, world_size = _rank_and_world_size()
        accumulate = getattr(self.trainer, "accumulate_grad_batches", 1)
        return kind(
            len(dataset),
            batch_size=batch_share(key, self.batch_totals[key], world_size, accumulate),
            seed=seed,
            rank=rank,
            world_size=world_size,
            accumulate=accumulate,
            shuffle=not self._overfits(),
            order=dataset.shuffled if isinstance(dataset, ShardDataset) else None,
        )

    def _overfits(self) -> bool:
        return getattr(self.trainer, "overfit_batches", 0) > 0

    def val_dataloader(self) -> EvaluationLoader | list[EvaluationLoader]:
        """Batches of the validation set with ``panoptic``; an empty list without a validation set."""
        return self._evaluation_loader("val") if self.builders["val"] is not None else []

    def test_dataloader(self) -> list[EvaluationLoader]:
        """One loader per test domain, in the order of ``test_names``."""
        return [self._evaluation_loader(f"test/{name}") for name in self.test_names]

    def _evaluation_loader(self, key: str) -> EvaluationLoader:
        dataset = self._built(key)
        rank, world_size = _rank_and_world_size()
        return EvaluationLoader(
            dataset,
            batch_size=self.eval_batch_size,
            collate_fn=self._collate(dataset, for_scoring=True),
            num_workers=self.num_workers,
            rank=rank,
            world_size=world_size,
        )

    def _collate(self, dataset: ImageDataset, for_scoring: bool = False) -> Callable[[list[Any]], Batch]:
        return partial(
            collate,
            vocabulary=dataset.vocabulary.name,
            size_divisor=self.size_divisor,
            with_ground_truth=for_scoring,
            with_targets=not for_scoring,
        )

    def _built(self, key: str) -> ImageDataset:
        if key not in self.datasets:
            raise DatasetError(
                f"there is no set '{key}': configure `data.{key.replace('/', '.')}` and call setup first"
            )
        return self.datasets[key]

    def _progress(self) -> tuple[int, int]:
        """The current epoch and its number of trained batches; after an interruption only Lightning knows them.

        This is not the epoch that Lightning passes to samplers: with ``max_steps`` that one is off by one after a
        checkpoint at the end of an epoch, so one epoch's order would be skipped.
        """
        if self.trainer is None:
            return 0, 0
        return self.trainer.current_epoch, self.trainer.fit_loop.epoch_loop.batch_progress.current.ready


def _rank_and_world_size() -> tuple[int, int]:
    """Rank and world size of this process; (0, 1) without a process group."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
