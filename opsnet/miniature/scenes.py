"""Writes the synthetic world: small generated images on disk, in the formats of the real datasets.

========================= ============================ =========================================================
folder                    corresponds to               format
========================= ============================ =========================================================
``scenes``                COCO (training domain)       COCO panoptic json + RGB-id PNGs; train, val and test
``scenes_novel``          ADE20K                       the same; mostly unseen concepts, more and smaller things
``scenes_street``         Cityscapes                   the same; few names, crowded things low in the image
``scenes_labels``         ImageNet-Val with ReaL       images + one json list of label lists
``captions``              CLIP's image-text pairs      COCO captions json
========================= ============================ =========================================================

An image is a function of (seed, folder, split, index) alone, so the same command writes the same bytes.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from opsnet.data.coco_panoptic_writing import content, image_record, write_annotation
from opsnet.data.panoptic_records import ImageFile
from opsnet.miniature.drawing import (
    CAPTION_SIZE,
    DOMAINS,
    SIZE,
    Domain,
    Record,
    draw_captioned,
    draw_scene,
    load_vocabulary,
    make_rng,
)
from opsnet.miniature.painting import finish
from opsnet.utils.files import atomic_path, write_text
from opsnet.utils.processes import map_in_processes
from opsnet.vocabulary import Vocabulary

log = logging.getLogger(__name__)

VERSION = 2  # increase it if drawing, painting or a vocabulary changes the images: older sets are then drawn again
CHUNK = 100  # images per unit of work; finished chunks are not drawn again after an interruption


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
    """Draws the panoptic domains and the image-label set of one seed; existing parts are kept.

    Args:
        root: folder in which to create ``scenes``, ``scenes_novel``, ``scenes_street`` and ``scenes_labels``.
        seed: seed of all images.
        train, val, test: images per split (only ``scenes`` has a training split).
        labels: images of ``scenes_labels``.
        workers: number of processes.
    """
    root = Path(root)
    for name in DOMAINS:
        for split, count in (("train", train if name == "scenes" else 0), ("val", val), ("test", test)):
            if count:
                draw = partial(_draw_panoptic, root / name, seed, name, split)
                annotations = root / name / "annotations" / f"panoptic_{split}.json"
                finalise = partial(_panoptic_json, annotations, load_vocabulary(DOMAINS[name].vocabulary))
                _write_set(annotations, draw, finalise, count, seed, workers)
    draw = partial(_draw_labels, root / "scenes_labels", seed)
    _write_set(root / "scenes_labels" / "real.json", draw, _real_json, labels, seed, workers)


def write_captions(root: Path | str, *, seed: int = 0, count: int = 15_000, workers: int = 2) -> None:
    """Draws ``count`` image-caption pairs of the whole world into ``root``, to train CLIP."""
    root = Path(root)
    draw = partial(_draw_captioned, root, seed, count)
    _write_set(root / "captions.json", draw, _captions_json, count, seed, workers)


# --- writing: chunks in parallel, each completed by one atomic file -------------------------------------------------


def _write_set(
    target: Path,
    draw: Callable[[int], Record],
    finalise: Callable[[list[Record]], Any],
    count: int,
    seed: int,
    workers: int,
) -> None:
    """Draws ``count`` images in chunks and writes the annotation file ``target`` last.

    If the jobs of a sweep start at the same time, one of them draws while the others wait for it.
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
    # Another seed or count uses the same file names, so its finished parts are invalid from here on.
    _stamp(target).unlink(missing_ok=True)
    for other in set(target.parent.glob(f".{target.stem}_parts_*")) - {parts}:
        shutil.rmtree(other)
    starts = range(0, count, CHUNK)
    todo = [i for i in starts if not (parts / f"{i:06d}.json").is_file()]
    jobs = partial(_write_chunk, draw, parts, count)
    found = map_in_processes(jobs, todo, min(workers, len(todo)), fix="run the same command again, it continues")
    for _ in _progress(found, len(todo), f"Drawing {target.parent.parent.name}/{target.stem}"):
        pass
    records = [record for i in starts for record in json.loads((parts / f"{i:06d}.json").read_text())]
    write_text(target, json.dumps(finalise(records)))
    write_text(_stamp(target), json.dumps(key))
    shutil.rmtree(parts)


def _write_chunk(draw: Callable[[int], Record], parts: Path, count: int, start: int) -> int:
    records = [draw(i) for i in range(start, min(start + CHUNK, count))]
    write_text(parts / f"{start:06d}.json", json.dumps(records))
    return len(records)


def _progress(iterator: Iterator[int], total: int, title: str) -> Iterator[int]:
    from rich.progress import track

    yield from track(iterator, description=title, total=total)


def _save_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


# --- panoptic domains -----------------------------------------------------------------------------------------------


def _draw_panoptic(root: Path, seed: int, domain_name: str, split: str, index: int) -> Record:
    rng = make_rng(seed, domain_name, split, index)
    image, ids, segments = draw_scene(DOMAINS[domain_name], rng)
    file_name = f"{index:06d}.png"
    _save_png(root / split / file_name, finish(image, rng))
    annotation = write_annotation(root / "annotations" / f"panoptic_{split}", index, file_name, ids, segments)
    return {"image": image_record(ImageFile(index, file_name), SIZE, SIZE), "annotation": annotation}


def _panoptic_json(path: Path, vocabulary: Vocabulary, records: list[Record]) -> Record:
    images, annotations = [r["image"] for r in records], [r["annotation"] for r in records]
    return content(path, images, annotations, vocabulary.categories())


# --- image labels and captions --------------------------------------------------------------------------------------


def _draw_labels(root: Path, seed: int, index: int) -> Record:
    """One image of ``scenes_labels``: one to three things on one or two kinds of stuff, with the labels of both."""
    rng = make_rng(seed, "scenes_labels", index)
    domain = Domain("scenes_labels", regions=(1, 2), things=(1, 3), radius=(10, 20))
    image, _, segments = draw_scene(domain, rng)
    _save_png(root / "val" / f"{index:06d}.png", finish(image, rng))
    index_of = load_vocabulary(domain.vocabulary).index_of_id
    return {"labels": sorted({index_of[s["category_id"]] for s in segments})}


def _real_json(records: list[Record]) -> list[list[int]]:
    return [r["labels"] for r in records]


def _draw_captioned(root: Path, seed: int, count: int, index: int) -> Record:
    """One captioned image; the first four fifths of the images show a thing on stuff, the others only stuff.

    The images with a thing come first so that a training stage can start with them alone.
    """
    rng = make_rng(seed, "captions", index)
    with_thing = index < 0.8 * count
    image, named = draw_captioned(with_thing, rng)
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
