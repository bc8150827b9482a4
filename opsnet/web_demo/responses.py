"""Computes the page's responses: an image and class names in, a labelled map out; invalid input is refused first."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from opsnet.inference.settings import changed
from opsnet.prediction.carriers import PanopticResult
from opsnet.prediction.predictor import Predictor
from opsnet.recognition.modulation import EmbeddingModulation
from opsnet.recognition.vocabulary_fit import VocabularyFit, vocabulary_fit
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.names import split_concepts, without_repeats
from opsnet.web_demo.recognizers import choose
from opsnet.web_demo.uploads import ProcessedImage, read_upload

MOST_WORDS, LONGEST_WORD = 1_000, 100  # number of names, and characters per name
TOP = 5  # names listed per segment
LISTED = 3  # examples in a warning


@dataclass(frozen=True)
class Controls:
    """The page's settings.

    Attributes:
        recognizer: see :func:`opsnet.web_demo.recognizers.offered_recognizers`.
        alpha, beta: coefficients, if it is an Embedding Modulation.
        threshold: score that a proposal must exceed; ``None``: the model's.
    """

    recognizer: str
    alpha: float = 10.0
    beta: float = 0.5
    threshold: float | None = None

    @classmethod
    def checked(cls, recognizer: Any, alpha: Any, beta: Any, threshold: Any) -> Controls:
        """The settings as a browser sent them.

        Raises:
            InputError: alpha, beta or the threshold is not a finite number.
        """
        return cls(str(recognizer), *map(_number, ("α", "β", "score threshold"), (alpha, beta, threshold)))


@dataclass(frozen=True)
class Response:
    """The result shown to a visitor.

    Attributes:
        seen: the processed image, to be passed again when names or settings change.
        map: the labelled map.
        fit: comparison of the names with the training names.
        modulated: whether the recognizer uses the comparison (Embedding Modulation).
        cut: names that CLIP truncates.
        warnings: what a visitor should know before trusting the result, a sentence each.
        network_seconds: time of the network; 0 if it was not run again.
        naming_seconds: time to embed names and label segments.
    """

    seen: ProcessedImage
    map: PanopticResult
    fit: VocabularyFit
    modulated: bool
    cut: tuple[str, ...]
    warnings: tuple[str, ...]
    network_seconds: float
    naming_seconds: float


def segment_image(
    predictor: Predictor, seen: ProcessedImage | None, path: str | None, words: Any, controls: Controls
) -> Response:
    """Segments an image, or relabels its segments if the network has already processed it.

    Args:
        predictor: shared by all visitors and not modified.
        seen: the same image, if it was processed by the same network before.
        path: path of the image.
        words: class names, see :func:`opsnet.vocabulary.names.split_concepts`.
        controls: the page's settings.

    Raises:
        InputError: there is no image, it is unreadable or too large, or the names or settings are invalid.
    """
    vocabulary = parse_words(words)
    recognizer = choose(predictor, controls.recognizer, controls.alpha, controls.beta)
    filtering = predictor.filtering
    if controls.threshold is not None:
        filtering = changed(filtering, {"threshold": controls.threshold})
    start = time.monotonic()
    if seen is None or seen.path != path:
        pixels = read_upload(path)
        seen = ProcessedImage(str(path), pixels, predictor.propose(pixels))
        network = time.monotonic() - start
    else:
        network = 0.0
    start = time.monotonic()
    (found,) = predictor.name(seen.output, vocabulary, modulation=recognizer, filtering=filtering, top_k=TOP)
    target, train = (predictor.text(v).to("cpu") for v in (vocabulary, predictor.train_vocabulary))
    cut = tuple(predictor.trained.model.clip.text_encoder.truncated_names(vocabulary))
    modulation = recognizer if isinstance(recognizer, EmbeddingModulation) else None
    fit = vocabulary_fit(target, train, modulation or EmbeddingModulation())
    return Response(
        seen, found, fit, modulation is not None, cut, warnings_of(found, fit, cut), network,
        time.monotonic() - start,
    )  # fmt: skip


def _number(label: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        got = "nothing" if value is None else str(value)[:40]
        raise InputError(f"{label} must be a number, got {got}: move its slider")
    return float(value)


def warnings_of(found: PanopticResult, fit: VocabularyFit, cut: tuple[str, ...]) -> tuple[str, ...]:
    """What a visitor should know before trusting the result, a sentence each."""
    warnings = [str(warning) for warning in found.warnings]
    if pairs := [f"{a} and {b}" for a, b, _ in fit.look_alikes[:LISTED]]:
        warnings.append(f"CLIP can hardly distinguish {'; '.join(pairs)}")
    if cut:
        warnings.append(f"CLIP does not read these names to their end: {', '.join(cut[:LISTED])}")
    return tuple(warnings)


def parse_words(text: Any) -> Vocabulary:
    """Parses the names in the text box. No file names are accepted: a visitor must not read this machine's files.

    Raises:
        InputError: there are no names, too many, or one is too long.
    """
    names = without_repeats(split_concepts(text)) if isinstance(text, str) else []
    if not names:
        raise InputError("there are no class names: enter some, separated by commas")
    if len(names) > MOST_WORDS:
        raise InputError(
            f"{len(names):,} names are more than the {MOST_WORDS:,} that this page accepts: remove some, or use "
            "opsnet-predict"
        )
    if longest := next((name for name in names if len(name) > LONGEST_WORD), None):
        raise InputError(f"'{longest[:40]}...' is longer than {LONGEST_WORD} characters: separate names by commas")
    return Vocabulary.from_names(names)
