"""Runs ``opsnet-predict masks=...``: images and given masks in, labelled maps out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hydra.utils import instantiate

from opsnet.inference.trained_options import TrainedRecognizer, choose_recognizer
from opsnet.prediction.carriers import PanopticResult
from opsnet.prediction.images import SourceImage
from opsnet.prediction.mask_files import MaskFiles
from opsnet.prediction.mask_labelling import mask_recognizer
from opsnet.prediction.options import PredictionOptions
from opsnet.prediction.outcome import Skipped
from opsnet.prediction.predictor import Predictor
from opsnet.recognition.modulation import ClipOnly
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.name_tree import NameTree


def labelled(
    predictor: Predictor, images: Iterator[SourceImage], masks: MaskFiles, words: Vocabulary | NameTree,
    options: PredictionOptions, rules: Mapping[str, Any], skipped: Skipped | None,
) -> Iterator[tuple[SourceImage, PanopticResult]]:  # fmt: skip
    """Yields each image with the result of its masks.

    Images whose masks are invalid are skipped.

    Args:
        predictor: names the masks.
        images: the images.
        masks: the masks of each.
        words: the names.
        options: of the command.
        rules: further arguments of :meth:`Predictor.label`.
        skipped: takes them; ``None``: they are errors.

    Raises:
        InputError: the recognizer cannot name masks; raised before the first image.
    """
    rules = {**rules, "front": options.front, "overlap": options.sizes.get("overlap") or 0.0}
    rules["modulation"] = _modulation(options, predictor)
    return _results(predictor, images, masks, words, rules, skipped)


def _results(
    predictor: Predictor, images: Iterator[SourceImage], masks: MaskFiles, words: Vocabulary | NameTree,
    rules: Mapping[str, Any], skipped: Skipped | None,
) -> Iterator[tuple[SourceImage, PanopticResult]]:  # fmt: skip
    for image in images:
        assert image.path is not None  # or its masks could not have been found
        try:
            given = masks.of(image.path, (image.pixels.shape[0], image.pixels.shape[1]))
        except InputError as error:
            if skipped is None:
                raise
            skipped.add(image.number, str(error))
            continue
        yield image, predictor.label(image, given, words, **rules)


def _modulation(options: PredictionOptions, predictor: Predictor) -> Recognizer:
    """The recognizer that was asked for, or else the usual one; without a trained network CLIP alone.

    Raises:
        InputError: it cannot name given masks.
    """
    has_network = options.checkpoint is not None or options.network.model.weights is not None
    chosen: Recognizer | None = None if has_network else ClipOnly()
    if instantiate(options.modulation) != TrainedRecognizer():
        chosen = choose_recognizer(options.modulation, predictor.trained)
    return mask_recognizer(predictor.trained.model, predictor.recognizer, chosen).eval().to(predictor.device)
