"""Computes the page's responses: an image and class names in, a labelled map out; invalid input is refused first."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opsnet.data.images import to_rgb
from opsnet.inference.network_output import NetworkOutput
from opsnet.prediction.carriers import NamedMap
from opsnet.prediction.predictor import Predictor
from opsnet.recognition.modulation import EmbeddingModulation
from opsnet.recognition.vocabulary_fit import VocabularyFit, vocabulary_fit
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary

LARGEST = 25_000_000  # pixels per image; all visitors share the server's memory
MOST_WORDS, LONGEST_WORD = 1_000, 100  # number of names, and characters per name
TOP = 5  # names listed per segment


@dataclass(frozen=True)
class ProcessedImage:
    """An image for which the network has run: the uploaded file, its pixels, and the network's output."""

    path: str
    pixels: NDArray[np.uint8]
    output: NetworkOutput


@dataclass(frozen=True)
class Response:
    """The result shown to a visitor.

    Attributes:
        seen: the processed image, to be passed again when names or sliders change.
        map: the labelled map.
        fit: comparison of the names with the training names.
        cut: names that CLIP truncates.
        network_seconds: time of the network; 0 if it was not run again.
        naming_seconds: time to embed names and label segments.
    """

    seen: ProcessedImage
    map: NamedMap
    fit: VocabularyFit
    cut: tuple[str, ...]
    network_seconds: float
    naming_seconds: float


def segment_image(
    predictor: Predictor, seen: ProcessedImage | None, path: str | None, words: str, alpha: float, beta: float
) -> Response:
    """Segments an image, or relabels its segments if the network has already processed it.

    Args:
        predictor: shared by all visitors and not modified.
        seen: this visitor's last image.
        path: path of the current image.
        words: class names separated by commas or line breaks.
        alpha, beta: coefficients of Embedding Modulation.

    Raises:
        InputError: there is no image, it is unreadable or too large, or the names are invalid.
    """
    vocabulary = parse_words(words)
    start = time.monotonic()
    if seen is None or seen.path != path:
        pixels = read_upload(path)
        seen = ProcessedImage(str(path), pixels, predictor.propose(pixels))
        network = time.monotonic() - start
    else:
        network = 0.0
    start = time.monotonic()
    modulation = EmbeddingModulation(alpha=float(alpha), beta=float(beta))
    own = None if predictor.trained.model.has_query_embeddings else predictor.recognizer  # Mask2Former's is CLIP alone
    (found,) = predictor.name(seen.output, vocabulary, modulation=own or modulation, top_k=TOP)
    target, train = (predictor.text(v).to("cpu") for v in (vocabulary, predictor.train_vocabulary))
    cut = predictor.trained.model.clip.text_encoder.truncated_names(vocabulary)
    fit = vocabulary_fit(target, train, modulation)
    return Response(seen, found, fit, tuple(cut), network, time.monotonic() - start)


def parse_words(text: str) -> Vocabulary:
    """Parses the names in the text box. No file names are accepted: a visitor must not read this machine's files.

    Raises:
        InputError: there are no names, too many, or one is too long.
    """
    names = [" ".join(name.split()) for name in re.split(r"[,;\n]", text) if name.strip()]
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(name.casefold(), name)
    names = list(first.values())
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


def read_upload(path: str | None) -> NDArray[np.uint8]:
    """An uploaded file as RGB (H, W, 3).

    Raises:
        InputError: there is no file, it is not an image, or it is too large according to its header.
    """
    from PIL import Image

    if not path:
        raise InputError("there is no image: upload one, or choose an example")
    name = Path(path).name
    try:
        with Image.open(path) as image:
            width, height = image.size
            if width * height <= LARGEST:
                return to_rgb(image)
    except (OSError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise InputError(f"{name} cannot be read as an image: give a PNG, JPEG or WebP file") from error
    raise InputError(
        f"{name} has {width * height / 1e6:.0f} megapixels ({width} x {height}), more than the {LARGEST / 1e6:.0f} "
        "that this page accepts: resize it first, or use opsnet-predict"
    )
