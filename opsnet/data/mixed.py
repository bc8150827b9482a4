"""``MixedDataModule``: each step has one batch with segments and one with image labels (paper, section 3.4).

The streams are independent. The trainer's epochs are those of the panoptic set; the image-label set cycles through its
own epochs alongside. Both orders are functions of (seed, epoch), so a resumed run continues with the next batch of
either stream (see :mod:`opsnet.data.datamodule`).
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch.utilities import CombinedLoader

from opsnet.data.datamodule import ImageDataset, PanopticDataModule
from opsnet.data.image_label_dataset import LabelledImages
from opsnet.data.loaders import CyclingLoader
from opsnet.data.samplers import EndlessSampler, ResumableSampler
from opsnet.utils.errors import DatasetError
from opsnet.utils.seeding import mix_seed
from opsnet.vocabulary import Vocabulary

_LABELS = "train_labels"
_LABEL_STREAM = 1  # mixed into the seed, or two sets of equal size would be read in the same order


class MixedDataModule(PanopticDataModule):
    """A panoptic data module with a second training stream. Training batches are dicts of two ``Batch``.

    Args:
        labels: the image-label set, or a function that builds it.
        label_batch_size: total images per optimizer step from this set; ``None``: as many as from the panoptic set.
        exact_epochs: read every labelled image exactly once per epoch of that set: a step at the end of an epoch takes
            its other images from the next. ``False``: the images that do not fill a step are left out.
        panoptic: arguments of :class:`opsnet.data.datamodule.PanopticDataModule`.

    Raises:
        DatasetError: a number is out of range, or no image-label set is given.
    """

    def __init__(
        self, *, labels: Any, label_batch_size: int | None = None, exact_epochs: bool = False, **panoptic: Any
    ) -> None:
        super().__init__(**panoptic)
        if label_batch_size is not None and label_batch_size < 1:
            raise DatasetError(
                f"label_batch_size must be at least 1, got {label_batch_size}: change `label_batch_size`"
            )
        if labels is None:
            raise DatasetError(
                "there is no set with image labels: give it in `data.module.labels`, or choose data=coco"
            )
        self.label_batch_size = label_batch_size or self.batch_size
        self.label_sampler = EndlessSampler if exact_epochs else ResumableSampler
        self.builders[_LABELS] = labels

    @property
    def label_vocabulary(self) -> Vocabulary:
        """Vocabulary of the image labels."""
        return self._built(_LABELS).vocabulary

    @property
    def batch_totals(self) -> dict[str, int]:
        """Total images per optimizer step, with segments and with image labels."""
        return {**super().batch_totals, "label_batch_size": self.label_batch_size}

    def train_dataloader(self) -> CombinedLoader:  # type: ignore[override]
        """Batches ``{"panoptic": Batch, "labels": Batch}``."""
        panoptic, dataset = super().train_dataloader(), self._built(_LABELS)
        labels = CyclingLoader(
            dataset,
            self._sampler(dataset, "label_batch_size", mix_seed(self.seed, _LABEL_STREAM), self.label_sampler),
            collate_fn=self._collate(dataset),
            num_workers=self.num_workers,
            steps=len(panoptic),
            progress=lambda: self._label_progress(len(panoptic)),
        )
        return CombinedLoader({"panoptic": panoptic, "labels": labels}, "min_size")

    def _label_progress(self, steps: int) -> tuple[int, int]:
        """Trained batches of the image-label stream, and those left in this panoptic epoch of ``steps`` batches."""
        epoch, batches = self._progress()
        if self.trainer is not None:  # limit_train_batches makes epochs shorter
            steps = int(min(steps, self.trainer.num_training_batches))
        return (0 if self._overfits() else epoch * steps) + batches, steps - batches

    def _built(self, key: str) -> ImageDataset:
        dataset = super()._built(key)
        if isinstance(dataset, LabelledImages) != (key == _LABELS):
            given, other = ("data.module.labels", "segments") if key == _LABELS else (f"set '{key}'", "image labels")
            raise DatasetError(f"{given} has images with {other}: swap the two sets")
        return dataset
