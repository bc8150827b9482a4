"""Example images with class names that fit the model at hand."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from opsnet.miniature.drawing import DOMAINS, draw_scene
from opsnet.miniature.painting import finish
from opsnet.prediction.sources import SUFFIXES
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.names import split_concepts, without_repeats

SCENES = (("scenes", 3), ("scenes_novel", 5), ("scenes_street", 2))  # domains of the synthetic world, and a seed
PHOTOGRAPH = "grace_hopper.jpg"  # in the public domain, part of matplotlib
PHOTOGRAPH_WORDS = "person, tie, wall, flag, cap, uniform"
PHOTOGRAPH_NEEDS = {"person", "tie"}  # names of COCO


@dataclass(frozen=True)
class Example:
    """An example image.

    Attributes:
        path: of the image.
        words: class names; ``None``: those in the text box stay.
    """

    path: str
    words: str | None


def examples_for(train: Vocabulary, folder: Path) -> tuple[Example, ...]:
    """Examples for a model: scenes for a miniature's checkpoint, a photograph for a model trained on COCO's names.

    Args:
        train: the model's training names.
        folder: folder to which they are written.
    """
    if set(train.names).issubset(Vocabulary.load("scenes").names):
        return draw_examples(folder)
    return photograph(folder) if PHOTOGRAPH_NEEDS.issubset(train.names) else ()


def draw_examples(folder: Path) -> tuple[Example, ...]:
    """Writes images of the synthetic world, each with the names of what is in it."""
    examples = []
    for domain, seed in SCENES:
        rng = np.random.default_rng(seed)
        image, _, segments = draw_scene(DOMAINS[domain], rng)
        path = folder / f"{domain}.png"
        Image.fromarray(finish(image, rng)).save(path)
        vocabulary = Vocabulary.load(DOMAINS[domain].vocabulary)
        largest_first = sorted(segments, key=lambda s: -s["area"])
        names = dict.fromkeys(vocabulary.names[vocabulary.index_of_id[s["category_id"]]] for s in largest_first)
        examples.append(Example(str(path), ", ".join(names)))
    return tuple(examples)


def photograph(folder: Path) -> tuple[Example, ...]:
    """The photograph that comes with matplotlib, if it is installed in full."""
    from matplotlib import get_data_path

    path = Path(get_data_path()) / "sample_data" / PHOTOGRAPH
    return (Example(str(shutil.copy(path, folder / PHOTOGRAPH)), PHOTOGRAPH_WORDS),) if path.is_file() else ()


def copy_examples(source: Path, folder: Path) -> tuple[Example, ...]:
    """The images of a folder, each with the class names of the text file of the same name, if there is one.

    Args:
        source: the folder.
        folder: folder to which they are copied; gradio serves nothing outside of temporary folders.

    Raises:
        InputError: there is no such folder, or no image in it.
    """
    if not source.is_dir():
        raise InputError(f"examples: {source} is not a folder: give a folder of images")
    images = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not images:
        raise InputError(f"examples: {source} has no images ({', '.join(SUFFIXES)}): give another folder")
    words = [_words(path.with_suffix(".txt")) for path in images]
    copies = (shutil.copy(path, folder / path.name) for path in images)
    return tuple(map(Example, map(str, copies), words))


def _words(path: Path) -> str | None:
    if not path.is_file():
        return None
    try:
        return ", ".join(without_repeats(split_concepts(path.read_text(encoding="utf-8-sig"))))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"examples: {path} cannot be read ({error}): save it as UTF-8 text") from error
