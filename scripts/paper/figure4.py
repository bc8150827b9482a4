"""The paper's Figure 4: similarity between the classes of a vocabulary in Mask2Former's class head and CLIP's text.

Usage: python -m scripts.paper.figure4 [--world scenes] [--prototypes SET=WEIGHTS ...] [--out figure4.png]
       [KEY=VALUE ...]

One histogram per dataset: the cosines of all pairs of CLIP text embeddings of its names (the first name of each class).
With ``--prototypes coco=PATH ade20k=PATH``, those of the class heads of published Mask2Formers are shown above them.
KEY=VALUE are overrides of conf/doctor.yaml, e.g. clip.model.weights=PATH.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from opsnet.paper.figure4 import cosine_histograms
from opsnet.paper.tables import SETS
from opsnet.paper.worlds import load_world
from opsnet.segmenter.published.layouts import CLASS_HEAD, convert
from opsnet.segmenter.published.weight_files import WeightsError, read_weights
from opsnet.utils.configuration import config_dir
from opsnet.utils.errors import InputError, exit_on_user_error
from opsnet.vocabulary import Vocabulary

SHOWN = ("coco", "ade20k", "cityscapes")


def main(words: Sequence[str] | None = None) -> None:
    """Draws the figure and prints its path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", default="real", help="real, or scenes: the miniature and its CLIP")
    parser.add_argument("--prototypes", nargs="+", default=[], metavar="SET=WEIGHTS", help="published Mask2Formers")
    parser.add_argument("--out", type=Path, default=Path("figure4.png"), help="PNG to write, figure4.png by default")
    parser.add_argument("overrides", nargs="*", help="overrides of conf/doctor.yaml")
    options = parser.parse_args(words)
    with exit_on_user_error():
        panels = [(f"{name} prototypes", prototypes(path)) for name, path in map(_given, options.prototypes)]
        panels += text_panels(options.world, options.overrides)
        print(f"Written: {cosine_histograms(panels, options.out, columns=len(SHOWN))}")


def _given(word: str) -> tuple[str, str]:
    name, _, path = word.partition("=")
    if name not in SETS or not path:
        raise InputError(f"--prototypes {word}: give SET=WEIGHTS, SET being one of {', '.join(SETS)}")
    return SETS[name], path


def prototypes(path: str) -> np.ndarray:
    """The rows of a published class head without no-object, (classes, dim).

    Raises:
        WeightsError: the weights are unreadable or have no class head.
    """
    state = convert(read_weights(path)).state
    if f"{CLASS_HEAD}weight" not in state:
        raise WeightsError(f"weights {path} hold no class head: give the weights of a complete Mask2Former")
    return np.asarray(state[f"{CLASS_HEAD}weight"][:-1].float().numpy())


def text_panels(world: str, overrides: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """Title and text embeddings (M, D) of each dataset in the figure."""
    place = load_world(world)
    clip = "rn50" if place.is_real else "tiny"
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = compose("doctor", [f"clip={clip}", "++clip.synonyms=false", *overrides, "output=."])
    encoder = instantiate(cfg.clip).text_encoder
    found = []
    for paper_set in SHOWN:
        vocabulary = Vocabulary.load(place.domain(paper_set))
        title = f"{SETS[paper_set] if place.is_real else vocabulary.name}, CLIP's text"
        found.append((title, encoder(vocabulary).embeds.cpu().numpy()))
    return found


if __name__ == "__main__":
    main()
