"""Inspection of a set of images with image-level labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsnet.data import findings as kinds
from opsnet.data.findings import Finding
from opsnet.data.image_label_dataset import ImageLabelDataset
from opsnet.data.images import read_rgb
from opsnet.data.set_inspection import Inspection, in_threads
from opsnet.data.set_listing import FindingSink
from opsnet.utils.errors import DatasetError
from opsnet.vocabulary import Vocabulary


@dataclass(frozen=True)
class ImageLabelInspector:
    """Inspects an image-label set; ``keywords`` are the arguments of ``ImageLabelDataset`` except ``transform``."""

    vocabulary: Vocabulary
    keywords: tuple[tuple[str, Any], ...]

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, Any]) -> ImageLabelInspector:
        """Builds the inspector from the arguments of ``ImageLabelDataset``.

        Raises:
            DatasetError: no image folder is given.
            VocabularyError: the vocabulary cannot be read.
        """
        if keywords.get("images") is None:
            raise DatasetError("a set has no `images`: give it in `data.module`")
        spec = keywords.get("vocabulary", "imagenet1k")
        kept = tuple((k, v) for k, v in sorted(keywords.items()) if k not in ("vocabulary", "transform"))
        return cls(Vocabulary.load(spec), kept)

    @property
    def name(self) -> str:
        """The folder."""
        return str(dict(self.keywords)["images"])

    def inspect(self, sink: FindingSink, *, limit: int | None = None, samples: int = 0) -> Inspection:
        """Inspects labels, folder and every image, see :class:`Inspector`; there are no masks, so no samples."""
        options = dict(self.keywords)
        options["limit"] = min((n for n in (limit, options.get("limit")) if n is not None), default=None)
        try:
            dataset = ImageLabelDataset(**options, vocabulary=self.vocabulary)
        except DatasetError as error:
            sink(Finding(kinds.UNFIT_LABELS, self.name, str(error)))
            return Inspection()
        if dataset.unlabelled:
            sink(Finding(kinds.UNLABELLED, self.name, f"{dataset.unlabelled:,} of its images"))
        result = Inspection(images=len(dataset) + dataset.unlabelled)
        paths = [dataset.path_of(index) for index in range(len(dataset))]
        for index, (path, reason) in enumerate(zip(paths, in_threads(_unreadable, paths, self.name), strict=True)):
            result.annotations += 1
            result.labels += len(dataset.labels_of(index))
            result.images_per_class.update(dataset.labels_of(index))
            if reason is not None:
                sink(Finding(kinds.UNREADABLE_IMAGE, path.name, reason))
        return result


def _unreadable(path: Path) -> str | None:
    """Why an image cannot be read; ``None`` if it can."""
    try:
        read_rgb(path)
    except DatasetError as error:
        return str(error)
    return None
