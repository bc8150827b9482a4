"""``MixedDataModule``: at each step one batch with segments and one with image labels (paper, section 3.4).

The streams are independent. Epochs are those of the panoptic set; the labelled set goes round beside it, with epochs
of its own, wherever those begin and end. Both orders are functions of (seed, epoch), so a resumed run goes on with the
next batch of either stream (see :mod:`opsnet.data.datamodule`).
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch.utilities import CombinedLoader

from opsnet.data.datamodule import ImageDataset, PanopticDataModule
from opsnet.data.image_label_dataset import ImageLabelDataset
from opsnet.data.loaders import CyclingLoader
from opsnet.utils.errors import DatasetError
from opsnet.utils.seeding import mix_seed
from opsnet.vocabulary import Vocabulary

_LABELS = "train_labels"
_LABEL_STREAM = 1  # mixed into the seed, or two sets of one size would be read in one order


class MixedDataModule(PanopticDataModule):
    """A panoptic data module with a second training stream. Training batches are dicts of two ``Batch``.

    Args:
        labels: the set with image labels, or what builds it.
        label_batch_size: its images of an optimiser step in total; ``None``: as many as of the panoptic set.
        panoptic: arguments of :class:`opsnet.data.datamodule.PanopticDataModule`.

    Raises:
        DatasetError: a number out of range, or no set.
    """

    def __init__(self, *, labels: Any, label_batch_size: int | None = None, **panoptic: Any) -> None:
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
        self.builders[_LABELS] = labels

    @property
    def label_vocabulary(self) -> Vocabulary:
        """Names of the image labels."""
        return self._built(_LABELS).vocabulary

    @property
    def batch_totals(self) -> dict[str, int]:
        """Images of an optimiser step in total, of either kind."""
        return {**super().batch_totals, "label_batch_size": self.label_batch_size}

    def train_dataloader(self) -> CombinedLoader:  # type: ignore[override]
        """Batches ``{"panoptic": Batch, "labels": Batch}``."""
        panoptic, dataset = super().train_dataloader(), self._built(_LABELS)
        labels = CyclingLoader(
            dataset,
            self._sampler(dataset, "label_batch_size", mix_seed(self.seed, _LABEL_STREAM)),
            collate_fn=self._collate(dataset),
            num_workers=self.num_workers,
            steps=len(panoptic),
            progress=lambda: self._label_progress(len(panoptic)),
        )
        return CombinedLoader({"panoptic": panoptic, "labels": labels}, "min_size")

    def _label_progress(self, steps: int) -> tuple[int, int]:
        """Trained batches of the labelled stream, and those left in this panoptic epoch of ``steps``."""
        epoch, batches = self._progress()
        if self.trainer is not None:  # limit_train_batches makes epochs shorter
            steps = int(min(steps, self.trainer.num_training_batches))
        return (0 if self._overfits() else epoch * steps) + batches, steps - batches

    def _built(self, key: str) -> ImageDataset:
        dataset = super()._built(key)
        if isinstance(dataset, ImageLabelDataset) != (key == _LABELS):
            given, other = ("data.module.labels", "segments") if key == _LABELS else (f"set '{key}'", "image labels")
            raise DatasetError(f"{given} has images with {other}: exchange the two sets")
        return dataset
