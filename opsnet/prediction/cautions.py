"""What a user should know before trusting a map: names or images that CLIP cannot know, untrained weights, no segment.

A map lists them as ``warnings``, objects of these classes whose text is one sentence. The command prints each kind once
per run, the page shows them beside the map, and calls of a predictor issue them as Python warnings, which users filter
by class: ``warnings.simplefilter("ignore", UnfamiliarImageWarning)``.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from opsnet.clip.scope import Scope
from opsnet.inference.network_output import NetworkOutput
from opsnet.inference.trained_model import TrainedModel
from opsnet.inference.untrained import has_initial_norms, proposals_agree
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction.carriers import PanopticResult
from opsnet.prediction.no_segment import why_empty
from opsnet.prediction.task_maps import for_task
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.name_tree import NameTree

SHOWN = 3  # names listed in a message


class PredictionWarning(UserWarning):
    """Something about a map that its scores do not tell."""


class UnknownNamesWarning(PredictionWarning):
    """Class names with words that CLIP was not trained on."""


class UnfamiliarImageWarning(PredictionWarning):
    """An image unlike those that CLIP and the network were trained on."""


class UntrainedNetworkWarning(PredictionWarning):
    """A network with random weights."""


class NoSegmentWarning(PredictionWarning):
    """A map without segments; the text says why."""


def scope_of(trained: TrainedModel) -> Scope | None:
    """What the network's CLIP was trained on; ``None`` if there is no limit worth a warning, as for OpenAI's."""
    scope: Scope | None = getattr(trained.model.clip.text_encoder.clip, "scope", None)
    return scope


def of_names(trained: TrainedModel, words: Vocabulary | NameTree) -> tuple[PredictionWarning, ...]:
    """The warning about names that neither CLIP nor the network, if it is no CLIP alone, was trained with."""
    scope = scope_of(trained)
    if scope is None:
        return ()
    vocabulary = words.word_vocabulary if isinstance(words, NameTree) else words
    seen = vocabulary.seen_in(trained.train_vocabulary)
    unknown = [
        c.name
        for c, is_seen in zip(vocabulary.concepts, seen, strict=True)
        if not ((is_seen and trained.has_segmenter) or any(map(scope.has_name, c.names)))
    ]
    if not unknown:
        return ()
    listed = ", ".join(f"'{name}'" for name in unknown[:SHOWN]) + (", ..." if len(unknown) > SHOWN else "")
    return (
        UnknownNamesWarning(
            f"{len(unknown)} of {len(vocabulary)} names mean nothing to this model ({listed}): its CLIP was trained on "
            f"drawn scenes, with {len(scope.words)} words such as {', '.join(sorted(scope.words)[:SHOWN])}; segments "
            "get such a name by chance"
        ),
    )


def of_scope(trained: TrainedModel, pixels: NDArray[np.uint8]) -> tuple[PredictionWarning, ...]:
    """The warning about an image (H, W, 3) unlike those that CLIP and the network were trained on."""
    scope = scope_of(trained)
    if scope is None or scope.has_image(pixels):
        return ()
    is_world = all(any(map(scope.has_name, c.names)) for c in trained.train_vocabulary.concepts)
    if trained.has_segmenter and not is_world:
        return ()  # the network was trained on other images than its CLIP, and knows them
    return (UNFAMILIAR,)


def of_images(
    trained: TrainedModel, images: Sequence[NDArray[np.uint8]], output: NetworkOutput
) -> list[tuple[PredictionWarning, ...]]:
    """The warnings about each of B images (H, W, 3) and the network's output for them."""
    untrained = [True] * len(images)
    if not has_initial_norms(trained.model):
        untrained = proposals_agree(trained.model, output, trained.names.train_bank())
    return [
        (
            *((UNTRAINED,) if is_untrained else ()),
            *of_scope(trained, pixels),
        )
        for pixels, is_untrained in zip(images, untrained, strict=True)
    ]


UNTRAINED = UntrainedNetworkWarning(
    "this network looks untrained: its proposals nearly agree, as with random weights, so its segments and names mean "
    "nothing; give trained weights"
)
UNFAMILIAR = UnfamiliarImageWarning(
    "the image is unlike the drawn scenes that this model was trained on: segments and names of photographs are "
    "arbitrary; for photographs give other weights (docs/models.md)"
)


def with_image_warnings(
    output: NetworkOutput, trained: TrainedModel, images: Sequence[NDArray[np.uint8]]
) -> NetworkOutput:
    """The output of B images (H, W, 3) with the warnings of :func:`of_images`."""
    return dataclasses.replace(output, warnings=tuple(of_images(trained, images, output)))


def with_warnings(
    maps: Sequence[PanopticResult], output: NetworkOutput, logits: Tensor, no_object: Tensor,
    words: Vocabulary | NameTree, *, trained: TrainedModel, filtering: MaskFiltering, task: str,
) -> list[PanopticResult]:  # fmt: skip
    """The maps of a task with all their warnings.

    Args:
        maps: panoptic maps, or semantic ones from proposals, of B images.
        output: what they were made from.
        logits: (B, K, M) of the names.
        no_object: (B, K).
        words: the names.
        trained: the network.
        filtering: the filter.
        task: "panoptic", "semantic" or "instance".
    """
    about_names, about_images = of_names(trained, words), output.warnings or ((),) * len(maps)
    found = []
    for i, before in enumerate(maps):
        named, about = for_task(before, task), [*about_images[i], *about_names]
        if not named.segments:
            iou = output.proposals.iou[i]
            about.append(NoSegmentWarning(why_empty(before, filtering, logits[i], no_object[i], iou, task=task)))
        found.append(dataclasses.replace(named, warnings=tuple(about)))
    return found


def issue(maps: Iterable[PanopticResult], *, stacklevel: int = 3) -> None:
    """Issues the warnings of maps as Python warnings, each text once; by default at the caller's caller."""
    for warning in {str(w): w for named in maps for w in named.warnings}.values():
        warnings.warn(warning, stacklevel=stacklevel)


class Summary:
    """The warnings of a run's maps, so that each is told once."""

    def __init__(self) -> None:
        self._total = 0
        self._files: dict[str, list[str]] = {}

    def add(self, file: str, warnings: Iterable[str]) -> None:
        """Adds those of the map of one image, each text once."""
        self._total += 1
        for text in warnings:
            self._files.setdefault(text, []).append(file)

    def lines(self) -> list[str]:
        """One line per text, with the number of images and the first of them unless it is about all images."""
        return [
            text
            if len(files) == self._total
            else f"{len(files)} of {self._total} images ({', '.join(files[:SHOWN])}{', ...' * (len(files) > SHOWN)}): "
            f"{text}"
            for text, files in self._files.items()
        ]
