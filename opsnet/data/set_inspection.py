"""Inspection of whole sets: json and folders (:mod:`opsnet.data.set_listing`), then every image.

To support another kind of set, add an :class:`Inspector` and a line in :data:`opsnet.data.inspectors.INSPECTORS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, TypeVar

from opsnet.data import findings as kinds
from opsnet.data.findings import Finding
from opsnet.data.inspection import AnnotatedImage, ImageReport, inspect_image
from opsnet.data.panoptic_dataset import QUIET_BELOW
from opsnet.data.set_listing import FindingSink, PanopticSource, list_images
from opsnet.utils.errors import DatasetError
from opsnet.utils.paths import user_path
from opsnet.utils.threads import map_in_threads
from opsnet.vocabulary import Vocabulary

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Inspection:
    """Counts and samples of a set.

    Attributes:
        images: number of entries in ``images``.
        annotations: number of inspected annotations.
        things, stuff, crowd, unknown: numbers of segments; crowd segments count only as crowd.
        images_per_class: label -> number of annotations with a segment of that label.
        singles_per_class: label -> number of segments that are not crowd.
        labels: number of image-level labels.
        samples: drawable images, evenly spread over the set.
    """

    images: int = 0
    annotations: int = 0
    things: int = 0
    stuff: int = 0
    crowd: int = 0
    unknown: int = 0
    labels: int = 0
    images_per_class: Counter[int] = field(default_factory=Counter)
    singles_per_class: Counter[int] = field(default_factory=Counter)
    samples: list[AnnotatedImage] = field(default_factory=list)

    @property
    def segments(self) -> int:
        """All segments."""
        return self.things + self.stuff + self.crowd + self.unknown

    def add(self, report: ImageReport, vocabulary: Vocabulary) -> None:
        """Adds the counts of one image."""
        self.annotations += 1
        labels = [(vocabulary.index_of_id.get(s.category_id), s.is_crowd) for s in report.segments]
        self.images_per_class.update({label for label, _ in labels if label is not None})
        self.crowd += sum(is_crowd for _, is_crowd in labels)
        single = [label for label, is_crowd in labels if not is_crowd]
        self.singles_per_class.update(label for label in single if label is not None)
        self.unknown += single.count(None)
        things = sum(vocabulary.is_thing[label] for label in single if label is not None)
        self.things += things
        self.stuff += len(single) - single.count(None) - things


def in_threads(one: Callable[[T], R], items: Sequence[T], name: str) -> Iterator[R]:
    """Yields results in order, with a progress bar."""
    from rich.console import Console
    from rich.progress import track

    yield from track(
        map_in_threads(one, items, threads=8),
        description=f"Inspecting {name}",
        total=len(items),
        console=Console(stderr=True),
        disable=len(items) < QUIET_BELOW,
    )


class Inspector(Protocol):
    """Inspects a set; equal inspectors inspect the same set.

    Attributes:
        name: the set's file or folder.
        vocabulary: the vocabulary of its labels.
    """

    @property
    def name(self) -> str: ...

    @property
    def vocabulary(self) -> Vocabulary: ...

    def inspect(self, sink: FindingSink, *, limit: int | None = None, samples: int = 0) -> Inspection:
        """Inspects the set, with a progress bar for large ones.

        Args:
            sink: receives the findings.
            limit: inspect only the first ``limit`` annotations.
            samples: number of drawable images to choose.
        """
        ...


@dataclass(frozen=True)
class PanopticInspector:
    """Inspects a panoptic set."""

    source: PanopticSource

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, Any]) -> PanopticInspector:
        """Builds the inspector from the arguments of ``PanopticDataset``.

        Raises:
            DatasetError: a required argument is missing.
            VocabularyError: the vocabulary cannot be read.
        """
        for key in ("images", "annotations", "vocabulary"):
            if keywords.get(key) is None:
                raise DatasetError(f"a set has no `{key}`: give it in `data.module`")
        spec, annotations = keywords["vocabulary"], user_path(keywords["annotations"])
        segments = keywords.get("segments")
        return cls(
            PanopticSource(
                user_path(keywords["images"]),
                annotations,
                annotations.with_suffix("") if segments is None else user_path(segments),
                Vocabulary.load(spec),
                keywords.get("limit"),
            )
        )

    @property
    def name(self) -> str:
        """The json."""
        return str(self.source.annotations)

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the set's labels."""
        return self.source.vocabulary

    def inspect(self, sink: FindingSink, *, limit: int | None = None, samples: int = 0) -> Inspection:
        """Inspects json, folders and every image, see :class:`Inspector`."""
        limit = min((n for n in (limit, self.source.limit) if n is not None), default=None)
        count, listed = list_images(replace(self.source, limit=limit), sink)
        result, drawable = Inspection(images=count), list[AnnotatedImage]()
        for annotated, report in zip(listed, self._reports(listed), strict=True):
            result.add(report, self.vocabulary)
            for finding in report.findings:
                sink(finding)
            if report.is_drawable:
                drawable.append(annotated)
        if limit is None and listed:
            self._report_unused(result, sink)
        count = min(samples, len(drawable))
        result.samples = [drawable[(2 * i + 1) * len(drawable) // (2 * count)] for i in range(count)]
        return result

    def _reports(self, annotated: Sequence[AnnotatedImage]) -> Iterator[ImageReport]:
        """Yields the report of each image, in order."""
        return in_threads(partial(inspect_image, vocabulary=self.vocabulary), annotated, self.source.annotations.name)

    def _report_unused(self, result: Inspection, sink: FindingSink) -> None:
        for label, concept in enumerate(self.vocabulary.concepts):
            named = f"category {concept.id} of vocabulary '{self.vocabulary.name}'"
            if label not in result.images_per_class:
                sink(Finding(kinds.UNUSED_CATEGORY, f"'{concept.name}'", f"{named} has no segment"))
            elif not result.singles_per_class[label]:
                sink(Finding(kinds.ONLY_CROWD, f"'{concept.name}'", f"{named} has iscrowd 1 in every segment"))
