"""Runs ``opsnet-predict masks=...``: images and given masks in, labelled maps out."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from numpy.typing import NDArray

from opsnet.inference.settings import TrainedRecognizer, choose_recognizer
from opsnet.prediction.carriers import NamedMap
from opsnet.prediction.labelling import mask_recognizer
from opsnet.prediction.mask_files import MaskFiles
from opsnet.prediction.options import PredictionOptions
from opsnet.prediction.predictor import Predictor
from opsnet.recognition.modulation import ClipOnly
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.name_tree import NameTree

Pixels = NDArray[np.uint8]


def labelled(
    predictor: Predictor, images: Iterator[tuple[Path, Pixels]], masks: MaskFiles, words: Vocabulary | NameTree,
    options: PredictionOptions, rules: Mapping[str, Any], failed: list[str],
) -> Iterator[tuple[Path, Pixels, NamedMap]]:  # fmt: skip
    """Yields each image with the map of its masks.

    Of several images, those whose masks are invalid are reported, added to ``failed`` and skipped.

    Args:
        predictor: names the masks.
        images: paths and pixels (H, W, 3).
        masks: the masks of each.
        words: the names.
        options: of the command.
        rules: further arguments of :meth:`Predictor.label`.
        failed: messages.

    Raises:
        InputError: the recognizer cannot name masks; raised before the first image.
    """
    rules = {**rules, "front": options.front, "overlap": options.sizes.get("overlap") or 0.0}
    rules["modulation"] = _modulation(options, predictor)
    return _maps(predictor, images, masks, words, rules, failed)


def _maps(
    predictor: Predictor, images: Iterator[tuple[Path, Pixels]], masks: MaskFiles, words: Vocabulary | NameTree,
    rules: Mapping[str, Any], failed: list[str],
) -> Iterator[tuple[Path, Pixels, NamedMap]]:  # fmt: skip
    for path, pixels in images:
        try:
            given = masks.of(path, (pixels.shape[0], pixels.shape[1]))
        except InputError as error:
            if masks.count == 1:
                raise
            failed.append(str(error))
            print(f"skipped: {error}", file=sys.stderr)
            continue
        yield path, pixels, predictor.label(pixels, given, words, **rules)


def _modulation(options: PredictionOptions, predictor: Predictor) -> Recognizer:
    """The recognizer that was asked for, or else the usual one; without a trained network CLIP alone.

    Raises:
        InputError: it cannot name given masks.
    """
    has_network = options.checkpoint is not None or options.network.model.weights is not None
    chosen: Recognizer | None = None if has_network else ClipOnly()
    if instantiate(options.modulation) != TrainedRecognizer():
        chosen = choose_recognizer(options.modulation, predictor.trained)
    return mask_recognizer(predictor.trained, chosen).eval().to(predictor.device)
