"""The embedded world: small images drawn by code, written to disk in the formats of the real sets.

========================= ============================ =========================================================
folder                    plays the part of            format
========================= ============================ =========================================================
``scenes``                COCO (training domain)       COCO panoptic json + RGB-id PNGs; train, val and test
``scenes_novel``          ADE20K                       the same; mostly unseen concepts, more and smaller things
``scenes_street``         Cityscapes                   the same; few names, things crowd together low in the image
``scenes_labels``         ImageNet-Val with ReaL       images + one json list of label lists
``captions``              CLIP's image-text pairs    COCO captions json
========================= ============================ =========================================================

An image is a function of (seed, folder, split, index) alone, so the same command writes the same bytes.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opsnet.data.coco_panoptic import SegmentLabel, content, describe, image_record, write_annotation
from opsnet.data.panoptic_records import ImageFile
from opsnet.miniature.painting import Array, Mask, finish, paint_stuff, paint_thing
from opsnet.utils.files import atomic_path, write_text
from opsnet.vocabulary import Concept, Vocabulary

log = logging.getLogger(__name__)

SIZE = 96  # pixels a side of a scene
CAPTION_SIZE = 32  # pixels a side of a captioned image: one object at the scale it has in a scene
VERSION = 2  # raise it when this file or a vocabulary changes what is drawn: older sets on disk are then drawn anew
CHUNK = 100  # images a unit of work; what is finished is not drawn again after an interruption
MIN_VISIBLE_PX = 24  # a thing with fewer visible pixels becomes void: no annotator would outline it
Record = dict[str, Any]


@dataclass(frozen=True)
class Domain:
    """Layout statistics of one panoptic domain."""

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


def write_world(
    root: Path | str,
    *,
    seed: int = 0,
    train: int = 800,
    val: int = 100,
    test: int = 200,
    labels: int = 800,
    workers: int = 2,
) -> None:
    """Draws the panoptic domains and the image-label set of one seed; finished parts are left as they are.

    Args:
        root: folder that receives ``scenes``, ``scenes_novel``, ``scenes_street`` and ``scenes_labels``.
        seed: of every image.
        train, val, test: images a split (only ``scenes`` has a training split).
        labels: images of ``scenes_labels``.
        workers: processes that draw.
    """
    root = Path(root)
    for name in DOMAINS:
        for split, count in (("train", train if name == "scenes" else 0), ("val", val), ("test", test)):
            if count:
                draw = partial(_draw_panoptic, root / name, seed, name, split)
                annotations = root / name / "annotations" / f"panoptic_{split}.json"
                finalise = partial(_panoptic_json, annotations, _vocabulary(DOMAINS[name].vocabulary))
                _write_set(annotations, draw, finalise, count, seed, workers)
    draw = partial(_draw_labels, root / "scenes_labels", seed)
    _write_set(root / "scenes_labels" / "real.json", draw, _real_json, labels, seed, workers)


def write_captions(root: Path | str, *, seed: int = 0, count: int = 15_000, workers: int = 2) -> None:
    """Draws ``count`` image-caption pairs over the whole world into ``root``, for CLIP's training."""
    root = Path(root)
    draw = partial(_draw_captioned, root, seed, count)
    _write_set(root / "captions.json", draw, _captions_json, count, seed, workers)


# --- writing: chunks in parallel, each finished by one atomic file --------------------------------------------------


def _write_set(
    target: Path,
    draw: Callable[[int], Record],
    finalise: Callable[[list[Record]], Any],
    count: int,
    seed: int,
    workers: int,
) -> None:
    """Draws ``count`` images in chunks and writes the annotation file ``target`` last.

    The jobs of a sweep start together: one of them draws, the others wait and find the set written.
    """
    from filelock import FileLock

    key = {"version": VERSION, "seed": seed, "count": count}
    if _is_written(target, key):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.stem}.lock")):
        if not _is_written(target, key):
            _draw_set(target, draw, finalise, key, workers)


def _stamp(target: Path) -> Path:
    return target.with_suffix(".stamp")


def _is_written(target: Path, key: Record) -> bool:
    try:
        return target.is_file() and json.loads(_stamp(target).read_text()) == key
    except FileNotFoundError:
        return False


def _draw_set(
    target: Path, draw: Callable[[int], Record], finalise: Callable[[list[Record]], Any], key: Record, workers: int
) -> None:
    count = key["count"]
    parts = target.parent / f".{target.stem}_parts_{VERSION}_{key['seed']}_{count}"
    parts.mkdir(exist_ok=True)
    # Another seed or count writes the same images' files: from here on what it finished is not finished any more.
    _stamp(target).unlink(missing_ok=True)
    for other in set(target.parent.glob(f".{target.stem}_parts_*")) - {parts}:
        shutil.rmtree(other)
    starts = range(0, count, CHUNK)
    todo = [i for i in starts if not (parts / f"{i:06d}.json").is_file()]
    jobs = partial(_write_chunk, draw, parts, count)
    for _ in _progress(_map(jobs, todo, workers), len(todo), f"Drawing {target.parent.parent.name}/{target.stem}"):
        pass
    records = [record for i in starts for record in json.loads((parts / f"{i:06d}.json").read_text())]
    write_text(target, json.dumps(finalise(records)))
    write_text(_stamp(target), json.dumps(key))
    shutil.rmtree(parts)


def _write_chunk(draw: Callable[[int], Record], parts: Path, count: int, start: int) -> int:
    records = [draw(i) for i in range(start, min(start + CHUNK, count))]
    write_text(parts / f"{start:06d}.json", json.dumps(records))
    return len(records)


def _map(job: Callable[[int], int], items: list[int], workers: int) -> Iterator[int]:
    if workers <= 1 or len(items) <= 1:
        yield from map(job, items)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(job, items)


def _progress(iterator: Iterator[int], total: int, title: str) -> Iterator[int]:
    from rich.progress import track

    yield from track(iterator, description=title, total=total)


def _save_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


@cache
def _vocabulary(name: str) -> Vocabulary:
    return Vocabulary.load(name)


def _rng(seed: int, *names: str | int) -> np.random.Generator:
    """A generator of its own for each image, whatever process draws it."""
    return np.random.default_rng([seed, *(zlib.crc32(str(n).encode()) for n in names)])


# --- panoptic scenes ------------------------------------------------------------------------------------------------


def _draw_panoptic(root: Path, seed: int, domain_name: str, split: str, index: int) -> Record:
    rng = _rng(seed, domain_name, split, index)
    image, ids, segments = draw_scene(DOMAINS[domain_name], rng)
    file_name = f"{index:06d}.png"
    _save_png(root / split / file_name, finish(image, rng))
    annotation = write_annotation(root / "annotations" / f"panoptic_{split}", index, file_name, ids, segments)
    return {"image": image_record(ImageFile(index, file_name), SIZE, SIZE), "annotation": annotation}


def draw_scene(domain: Domain, rng: np.random.Generator) -> tuple[Array, NDArray[np.int64], list[Record]]:
    """Draws one scene.

    Returns:
        The image (96, 96, 3) in 0..255, the segment ids (96, 96) with 0 for void, and COCO's segments_info.
    """
    vocabulary = _vocabulary(domain.vocabulary)
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
    """Where a thing stands: anywhere, or (street) in a band where things hide one another."""
    if domain.street:
        return rng.uniform(8, SIZE - 8), float(np.clip(rng.normal(0.62, 0.13), 0.1, 0.92)) * SIZE
    return rng.uniform(8, SIZE - 8), rng.uniform(8, SIZE - 8)


def _regions(count: int, street: bool, rng: np.random.Generator) -> list[Mask]:
    """``count`` masks (96, 96) that share the image between wavy borders."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    angle = rng.normal(np.pi / 2, 0.12) if street else rng.uniform(0, np.pi)
    along, across = x * np.sin(angle) - y * np.cos(angle), x * np.cos(angle) + y * np.sin(angle)
    across = across + rng.uniform(0.02, 0.06) * np.sin(along * rng.uniform(5, 12) + rng.uniform(0, 6))
    cuts = (np.arange(1, count) + rng.uniform(-0.25, 0.25, count - 1)) / count
    level = np.searchsorted(np.quantile(across, cuts), across)
    return [level == k for k in range(count)]


def _paint_crowd(image: Array, concept: Concept, rng: np.random.Generator) -> Mask:
    """A cluster of small things of one concept that carries one crowd segment."""
    centre = rng.uniform(20, SIZE - 20, 2)
    covered = np.zeros((SIZE, SIZE), bool)
    for offset in rng.normal(0, 8, (5, 2)):
        x, y = centre + offset
        covered |= paint_thing(image, (float(x), float(y)), rng.uniform(6, 8), concept.name, rng)
    return covered


def _paint_unknown(image: Array, rng: np.random.Generator) -> Mask:
    """A grey blot that no annotator named: void."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    (cx, cy), (rx, ry) = rng.uniform(0, SIZE, 2), rng.uniform(4, 10, 2)
    mask = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
    image[mask] = rng.uniform(90, 150)
    return mask


def _flatten(layers: list[tuple[Mask, Concept | None, bool]]) -> tuple[NDArray[np.int64], list[Record]]:
    """Later layers hide earlier ones; ids have gaps, as COCO's have."""
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


def _panoptic_json(path: Path, vocabulary: Vocabulary, records: list[Record]) -> Record:
    images, annotations = [r["image"] for r in records], [r["annotation"] for r in records]
    return content(path, images, annotations, vocabulary.categories())


# --- image labels and captions --------------------------------------------------------------------------------------


def _draw_labels(root: Path, seed: int, index: int) -> Record:
    """One image of ``scenes_labels``: an object or three on one or two grounds, with the labels of what is seen."""
    rng = _rng(seed, "scenes_labels", index)
    domain = Domain("scenes_labels", regions=(1, 2), things=(1, 3), radius=(10, 20))
    image, _, segments = draw_scene(domain, rng)
    _save_png(root / "val" / f"{index:06d}.png", finish(image, rng))
    index_of = _vocabulary(domain.vocabulary).index_of_id
    return {"labels": sorted({index_of[s["category_id"]] for s in segments})}


def _real_json(records: list[Record]) -> list[list[int]]:
    return [r["labels"] for r in records]


def _draw_captioned(root: Path, seed: int, count: int, index: int) -> Record:
    """One captioned image: a ground, and on four of five images one thing.

    The thing comes first in the order of images so that a training stage can begin with those alone.
    """
    rng = _rng(seed, "captions", index)
    world = _vocabulary("scenes_world").concepts
    thing, ground = _pick([c for c in world if c.is_thing], rng), _pick([c for c in world if not c.is_thing], rng)
    image = np.zeros((CAPTION_SIZE, CAPTION_SIZE, 3), np.float32)
    paint_stuff(image, np.ones((CAPTION_SIZE, CAPTION_SIZE), bool), ground.name, rng)
    with_thing = index < 0.8 * count
    named: list[Concept] = [ground]
    if with_thing:
        radius = rng.uniform(7, 14)
        x, y = rng.uniform(CAPTION_SIZE / 2 - 5, CAPTION_SIZE / 2 + 5, 2)
        paint_thing(image, (x, y), radius, thing.name, rng)
        # With the images without a thing, a third of all captions name the ground alone: 15% leave grounds unstable.
        named = [[thing], [ground], [thing, ground]][rng.choice(3, p=(0.5, 0.15, 0.35))]
    file_name = f"{index:06d}.png"
    _save_png(root / "images" / file_name, finish(image, rng))
    caption = " on ".join(c.name for c in named)
    return {
        "image": {"id": index, "file_name": file_name, "height": CAPTION_SIZE, "width": CAPTION_SIZE},
        "annotation": {"id": index, "image_id": index, "caption": caption, "has_thing": with_thing},
    }


def _captions_json(records: list[Record]) -> Record:
    return {"images": [r["image"] for r in records], "annotations": [r["annotation"] for r in records]}


def main() -> None:
    """Draws the panoptic domains and the image-label set of one seed, without training anything."""
    parser = argparse.ArgumentParser(prog="python -m opsnet.miniature.scenes", description=main.__doc__)
    parser.add_argument("root", type=Path, help="folder to write to")
    for name, default in (("seed", 0), ("train", 800), ("val", 100), ("test", 200), ("labels", 800), ("workers", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    write_world(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
