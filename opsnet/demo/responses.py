"""What the page answers: an image and words in, a named map out; refusals in one sentence before any work."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opsnet.data.images import to_rgb
from opsnet.prediction.carriers import NamedMap, Proposed
from opsnet.prediction.predictor import Predictor
from opsnet.recognition.modulation import EmbeddingModulation
from opsnet.recognition.vocabulary_fit import VocabularyFit, vocabulary_fit
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary

LARGEST = 25_000_000  # pixels of an image; a server's memory is shared by all who visit the page
MOST_WORDS, LONGEST_WORD = 1_000, 100  # names, characters
TOP = 5  # names that a segment lists


@dataclass(frozen=True)
class Seen:
    """An image that the network has seen: its file as the browser sent it, and what the network said."""

    path: str
    proposed: Proposed


@dataclass(frozen=True)
class Answer:
    """What a visitor gets.

    Attributes:
        seen: to be handed in again with the next words or sliders.
        map: the named map.
        fit: of the words to the training.
        cut: names of which CLIP reads only the beginning.
        network_seconds: spent on the image, 0 where it was seen before.
        naming_seconds: spent on words and segments.
    """

    seen: Seen
    map: NamedMap
    fit: VocabularyFit
    cut: tuple[str, ...]
    network_seconds: float
    naming_seconds: float


def answer(predictor: Predictor, seen: Seen | None, path: str | None, words: str, alpha: float, beta: float) -> Answer:
    """Segments an image, or names its segments anew where the network has seen it already.

    Args:
        predictor: shared by all visitors; nothing of it changes.
        seen: this visitor's last image.
        path: of the image now chosen.
        words: between commas or lines.
        alpha, beta: of Embedding Modulation.

    Raises:
        InputError: no image, one that cannot be read or is too large, or words that cannot be used.
    """
    vocabulary = parse_words(words)
    start = time.monotonic()
    if seen is None or seen.path != path:
        seen = Seen(str(path), predictor.propose(read_upload(path)))
        network = time.monotonic() - start
    else:
        network = 0.0
    start = time.monotonic()
    modulation = EmbeddingModulation(alpha=float(alpha), beta=float(beta))
    (found,) = predictor.name(seen.proposed, vocabulary, modulation=modulation, top_k=TOP)
    target, train = (predictor.text(v).to("cpu") for v in (vocabulary, predictor.train_vocabulary))
    cut = predictor.trained.model.clip.text_encoder.truncated_names(vocabulary)
    fit = vocabulary_fit(target, train, modulation)
    return Answer(seen, found, fit, tuple(cut), network, time.monotonic() - start)


def parse_words(text: str) -> Vocabulary:
    """A vocabulary from the box. Only names: a visitor must not read this machine's files.

    Raises:
        InputError: none, too many or too long ones.
    """
    names = [" ".join(name.split()) for name in re.split(r"[,;\n]", text) if name.strip()]
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(name.casefold(), name)
    names = list(first.values())
    if not names:
        raise InputError("there are no words: write some names, with commas between them")
    if len(names) > MOST_WORDS:
        raise InputError(
            f"{len(names):,} words are more than the {MOST_WORDS:,} that this page takes: remove some, or use "
            "opsnet-predict"
        )
    if longest := next((name for name in names if len(name) > LONGEST_WORD), None):
        raise InputError(f"'{longest[:40]}...' is longer than {LONGEST_WORD} characters: separate names by commas")
    return Vocabulary.from_names(names)


def read_upload(path: str | None) -> NDArray[np.uint8]:
    """An uploaded file as RGB (H, W, 3).

    Raises:
        InputError: none, not an image, or too large; said from its header, before its pixels are read.
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
        "that this page takes: make it smaller first, or use opsnet-predict"
    )
