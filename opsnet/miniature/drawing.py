"""Draws the images of the synthetic world: scenes with segments, and captioned images.

Shapes and textures are in :mod:`opsnet.miniature.painting`; :mod:`opsnet.miniature.scenes` writes whole datasets to
disk.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opsnet.data.coco_panoptic_writing import SegmentLabel, describe
from opsnet.miniature.painting import Array, Mask, paint_stuff, paint_thing
from opsnet.vocabulary import Concept, Vocabulary

SIZE = 96  # pixels per side of a scene
CAPTION_SIZE = 32  # pixels per side of a captioned image: one object at the scale it has in a scene
MIN_VISIBLE_PX = 24  # a thing with fewer visible pixels becomes void, since no annotator would outline it
Record = dict[str, Any]


@dataclass(frozen=True)
class Domain:
    """Layout statistics of one panoptic domain: ranges of counts and of radii in pixels."""

    vocabulary: str
    regions: tuple[int, int]
    things: tuple[int, int]
    radius: tuple[float, float]
    street: bool = False


DOMAINS = {
    "scenes": Domain("scenes", regions=(2, 3), things=(2, 6), radius=(10, 20)),
    "scenes_novel": Domain("scenes_novel", regions=(2, 4), things=(3, 8), radius=(8, 18)),
    "scenes_street": Domain("scenes_street", regions=(2, 3), things=(3, 7), radius=(8, 18), street=True),
}


@cache
def load_vocabulary(name: str) -> Vocabulary:
    """A packaged vocabulary, loaded once per process."""
    return Vocabulary.load(name)


def make_rng(seed: int, *names: str | int) -> np.random.Generator:
    """A generator per image, independent of the process that draws it."""
    return np.random.default_rng([seed, *(zlib.crc32(str(n).encode()) for n in names)])


# --- scenes ---------------------------------------------------------------------------------------------------------


def draw_scene(domain: Domain, rng: np.random.Generator) -> tuple[Array, NDArray[np.int64], list[Record]]:
    """Draws one scene.

    Returns:
        The image (96, 96, 3) in 0..255, segment ids (96, 96) with 0 = void, and COCO's segments_info.
    """
    vocabulary = load_vocabulary(domain.vocabulary)
    stuff = [c for c in vocabulary.concepts if not c.is_thing]
    things = [c for c in vocabulary.concepts if c.is_thing]
    image = np.zeros((SIZE, SIZE, 3), np.float32)
    layers: list[tuple[Mask, Concept | None, bool]] = []
    regions = _regions(int(rng.integers(domain.regions[0], domain.regions[1] + 1)), domain.street, rng)
    for mask, k in zip(regions, rng.choice(len(stuff), len(regions), replace=False), strict=True):
        paint_stuff(image, mask, stuff[k].name, rng)
        layers.append((mask, stuff[k], False))
    if rng.random() < 0.12:
        layers.append((_paint_crowd(image, concept := _pick(things, rng), rng), concept, True))
    for _ in range(int(rng.integers(domain.things[0], domain.things[1] + 1))):
        concept = _pick(things, rng)
        radius = rng.uniform(*domain.radius)
        layers.append((paint_thing(image, _place(domain, rng), radius, concept.name, rng), concept, False))
    if rng.random() < 0.25:
        layers.append((_paint_unknown(image, rng), None, False))
    ids, segments = _flatten(layers)
    return image, ids, segments


def _pick(concepts: list[Concept], rng: np.random.Generator) -> Concept:
    return concepts[int(rng.integers(len(concepts)))]


def _place(domain: Domain, rng: np.random.Generator) -> tuple[float, float]:
    """The centre of a thing: anywhere, or (street) in a band where things occlude each other."""
    if domain.street:
        return rng.uniform(8, SIZE - 8), float(np.clip(rng.normal(0.62, 0.13), 0.1, 0.92)) * SIZE
    return rng.uniform(8, SIZE - 8), rng.uniform(8, SIZE - 8)


def _regions(count: int, street: bool, rng: np.random.Generator) -> list[Mask]:
    """``count`` masks (96, 96) that partition the image along wavy borders."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    angle = rng.normal(np.pi / 2, 0.12) if street else rng.uniform(0, np.pi)
    along, across = x * np.sin(angle) - y * np.cos(angle), x * np.cos(angle) + y * np.sin(angle)
    across = across + rng.uniform(0.02, 0.06) * np.sin(along * rng.uniform(5, 12) + rng.uniform(0, 6))
    cuts = (np.arange(1, count) + rng.uniform(-0.25, 0.25, count - 1)) / count
    level = np.searchsorted(np.quantile(across, cuts), across)
    return [level == k for k in range(count)]


def _paint_crowd(image: Array, concept: Concept, rng: np.random.Generator) -> Mask:
    """Paints a cluster of small things of one concept, annotated as one crowd segment."""
    centre = rng.uniform(20, SIZE - 20, 2)
    covered = np.zeros((SIZE, SIZE), bool)
    for offset in rng.normal(0, 8, (5, 2)):
        x, y = centre + offset
        covered |= paint_thing(image, (float(x), float(y)), rng.uniform(6, 8), concept.name, rng)
    return covered


def _paint_unknown(image: Array, rng: np.random.Generator) -> Mask:
    """Paints a grey blob without annotation: void."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    (cx, cy), (rx, ry) = rng.uniform(0, SIZE, 2), rng.uniform(4, 10, 2)
    mask = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
    image[mask] = rng.uniform(90, 150)
    return mask


def _flatten(layers: list[tuple[Mask, Concept | None, bool]]) -> tuple[NDArray[np.int64], list[Record]]:
    """Flattens layers, of which later ones hide earlier ones; ids have gaps, as in COCO."""
    order = np.full((SIZE, SIZE), -1, np.int64)
    for k, (mask, _, _) in enumerate(layers):
        order[mask] = k
    ids, labels = np.zeros((SIZE, SIZE), np.int64), []
    for k, (_, concept, crowd) in enumerate(layers):
        visible = order == k
        if concept is None or visible.sum() < MIN_VISIBLE_PX:
            continue
        labels.append(SegmentLabel(concept.id * 1000 + k + 1, concept.id, crowd))
        ids[visible] = labels[-1].id
    return ids, describe(ids, labels)


# --- captioned images -----------------------------------------------------------------------------------------------


def draw_captioned(with_thing: bool, rng: np.random.Generator) -> tuple[Array, list[Concept]]:
    """Draws stuff, with or without one thing on it.

    Returns:
        The image (32, 32, 3) in 0..255, and the concepts that its caption names.
    """
    world = load_vocabulary("scenes_world").concepts
    thing, ground = _pick([c for c in world if c.is_thing], rng), _pick([c for c in world if not c.is_thing], rng)
    image = np.zeros((CAPTION_SIZE, CAPTION_SIZE, 3), np.float32)
    paint_stuff(image, np.ones((CAPTION_SIZE, CAPTION_SIZE), bool), ground.name, rng)
    if not with_thing:
        return image, [ground]
    radius = rng.uniform(7, 14)
    x, y = rng.uniform(CAPTION_SIZE / 2 - 5, CAPTION_SIZE / 2 + 5, 2)
    paint_thing(image, (x, y), radius, thing.name, rng)
    # Including the images without a thing, a third of all captions name only the stuff: with 15% it is learned
    # unreliably.
    named = [[thing], [ground], [thing, ground]][rng.choice(3, p=(0.5, 0.15, 0.35))]
    return image, named
