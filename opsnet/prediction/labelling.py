"""What the two stages of a prediction pass on: the network's output with its images, and how to label it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from opsnet.inference.network_output import NetworkOutput
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction import arguments
from opsnet.prediction.carriers import PanopticResult
from opsnet.prediction.images import SourceImage
from opsnet.prediction.naming import UnknownRule
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.name_tree import NameTree


@dataclass(frozen=True, repr=False)
class Proposed(NetworkOutput):
    """The network's output for B images, with the images, which results show and save.

    Attributes:
        images: the images, at their original sizes.
    """

    images: tuple[SourceImage, ...] = ()

    @classmethod
    def of_images(cls, output: NetworkOutput, images: Sequence[SourceImage]) -> Proposed:
        """The output for B images."""
        own = {field.name: getattr(output, field.name) for field in fields(NetworkOutput)}
        return cls(**own, images=tuple(images))

    def with_images(self, results: Sequence[PanopticResult]) -> list[PanopticResult]:
        """The results for these images, with image and file name."""
        return [
            replace(result, image=image.pixels, file_name=image.file_name)
            for result, image in zip(results, self.images, strict=True)
        ]

    def __repr__(self) -> str:
        names = ", ".join(image.file_name for image in self.images[:3]) + ", ..." * (len(self) > 3)
        return f"Proposed({len(self)} x {self.proposals.iou.shape[1]} proposals: {names})"


@dataclass(frozen=True)
class Labelling:
    """How segments are labelled.

    Attributes:
        words: the names, or a tree of them.
        recognizer: turns embeddings into logits.
        filtering: ranks and drops proposals.
        from_proposals: see :func:`opsnet.prediction.semantic_naming.is_from_proposals`.
        top_k, unknown, path_margin: see :func:`opsnet.prediction.naming.label_segments`.
        task: one of :data:`opsnet.prediction.task_maps.TASKS`.

    Raises:
        InputError: an argument is of another type or out of range.
    """

    words: Vocabulary | NameTree
    recognizer: Recognizer
    filtering: MaskFiltering
    from_proposals: bool
    top_k: int = 1
    unknown: UnknownRule | None = None
    path_margin: float = 0.1
    task: str = "panoptic"

    def __post_init__(self) -> None:
        arguments.whole("top_k", self.top_k)
        arguments.share("path_margin", self.path_margin)
        if self.unknown is not None and not isinstance(self.unknown, UnknownRule):
            raise InputError(f"unknown must be None or a rule such as UnknownRule(margin=0.1), got {self.unknown!r}")

    @property
    def target(self) -> Vocabulary:
        """The names that have a text, to which embeddings are compared."""
        return self.words.word_vocabulary if isinstance(self.words, NameTree) else self.words
