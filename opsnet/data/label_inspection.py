"""Inspection of a set of images with image-level labels, in a folder or in shards."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any, ClassVar

from opsnet.data import findings as kinds
from opsnet.data.findings import Finding
from opsnet.data.image_label_dataset import ImageLabelDataset, LabelledImages
from opsnet.data.set_inspection import Inspection, in_threads
from opsnet.data.set_listing import FindingSink
from opsnet.data.shard_dataset import ShardDataset
from opsnet.utils.errors import DatasetError
from opsnet.vocabulary import Vocabulary


@dataclass(frozen=True)
class ImageLabelInspector:
    """Inspects an image-label set; ``keywords`` are the arguments of ``ImageLabelDataset`` except ``transform``."""

    vocabulary: Vocabulary
    keywords: tuple[tuple[str, Any], ...]

    kind: ClassVar[type[LabelledImages]] = ImageLabelDataset
    source: ClassVar[str] = "images"

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, Any]) -> ImageLabelInspector:
        """Builds the inspector from the arguments of the dataset.

        Raises:
            DatasetError: no image folder, or no shards, are given.
            VocabularyError: the vocabulary cannot be read.
        """
        if keywords.get(cls.source) is None:
            raise DatasetError(f"a set has no `{cls.source}`: give it in `data.module`")
        spec = keywords.get("vocabulary", signature(cls.kind).parameters["vocabulary"].default)
        kept = {k: tuple(v) if isinstance(v, list) else v for k, v in keywords.items()}  # equal ones have one hash
        others = tuple((k, v) for k, v in sorted(kept.items()) if k not in ("vocabulary", "transform"))
        return cls(Vocabulary.load(spec), others)

    @property
    def name(self) -> str:
        """The folder, or the shards."""
        return str(dict(self.keywords)[self.source])

    def inspect(self, sink: FindingSink, *, limit: int | None = None, samples: int = 0) -> Inspection:
        """Inspects labels, files and every image, see :class:`Inspector`; there are no masks, so no samples."""
        options = dict(self.keywords)
        options["limit"] = min((n for n in (limit, options.get("limit")) if n is not None), default=None)
        try:
            dataset = self._open(options)
        except DatasetError as error:
            sink(Finding(kinds.UNFIT_LABELS, self.name, str(error)))
            return Inspection()
        left_out = self._report_left_out(dataset, sink)
        result = Inspection(images=len(dataset) + left_out)
        indices = range(len(dataset))
        for index, reason in enumerate(in_threads(partial(_unreadable, dataset), indices, self.name)):
            result.annotations += 1
            result.labels += len(dataset.labels_of(index))
            result.images_per_class.update(dataset.labels_of(index))
            if reason is not None:
                sink(Finding(kinds.UNREADABLE_IMAGE, dataset.name_of(index), reason))
        return result

    def _open(self, options: dict[str, Any]) -> LabelledImages:
        return self.kind(**options, vocabulary=self.vocabulary)

    def _report_left_out(self, dataset: Any, sink: FindingSink) -> int:
        """Reports the images that the set leaves out, and returns their number."""
        if dataset.unlabelled:
            sink(Finding(kinds.UNLABELLED, self.name, f"{dataset.unlabelled:,} of its images"))
        return int(dataset.unlabelled)


@dataclass(frozen=True)
class ShardInspector(ImageLabelInspector):
    """Inspects shards; ``keywords`` are the arguments of ``ShardDataset`` except ``transform``."""

    kind = ShardDataset
    source = "shards"

    def _open(self, options: dict[str, Any]) -> LabelledImages:
        return super()._open({**options, "max_damaged": sys.maxsize})  # all are reported

    def _report_left_out(self, dataset: Any, sink: FindingSink) -> int:
        for fault in dataset.faults:
            sink(Finding(kinds.DAMAGED_SAMPLE, fault.partition(" ")[0], fault))
        if dataset.unknown:
            sink(Finding(kinds.UNKNOWN_LABELS, self.name, f"{dataset.unknown:,} of its images"))
        return super()._report_left_out(dataset, sink) + dataset.unknown + len(dataset.faults)


def _unreadable(dataset: LabelledImages, index: int) -> str | None:
    """Why an image cannot be read; ``None`` if it can."""
    try:
        dataset.read(index)
    except DatasetError as error:
        return str(error)
    return None
