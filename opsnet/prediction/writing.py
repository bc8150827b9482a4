"""Writes predictions: overlays, COCO's panoptic format, class maps, instances, and a table of all segments."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from opsnet.data.coco_panoptic import content, image_record, segment_record, write_annotation
from opsnet.data.panoptic_records import ImageFile, ImageId, SegmentInfo
from opsnet.prediction.carriers import MaskId, NamedMap, NamedSegment, NameScore
from opsnet.prediction.naming import boxes_of
from opsnet.utils.errors import InputError
from opsnet.utils.files import atomic_path, write_json, write_text
from opsnet.vocabulary import Vocabulary

TASKS = ("panoptic", "semantic", "instance")
COLUMNS = (
    "file", "id", "category_id", "name", "kind", "score", "predicted_iou", "area", "left", "top", "width", "height",
    "names", "path",
)  # fmt: skip
MASK_COLUMN = "source_ids"
"""A further column if masks were given."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def checked_task(task: str) -> str:
    """Validates a task.

    Raises:
        InputError: it is unknown.
    """
    if task not in TASKS:
        raise InputError(f"task must be one of {', '.join(TASKS)}, got '{task}'")
    return task


def for_task(named: NamedMap, task: str) -> NamedMap:
    """The map for a task: "semantic" has one segment per class, "instance" only things.

    Raises:
        InputError: the task is unknown.
    """
    if checked_task(task) == "panoptic":
        return named
    kept = [s for s in named.segments if s.is_thing or task == "semantic"]
    classes: dict[int, list[NamedSegment]] = {}
    for s in kept:
        classes.setdefault(s.label if task == "semantic" else s.id, []).append(s)
    id_of = torch.zeros(1 + max((s.id for s in named.segments), default=0), dtype=torch.int64)
    merged = []
    for number, parts in enumerate(classes.values(), start=1):
        best, area = max(parts, key=lambda s: s.score), sum(s.area for s in parts)
        id_of[[s.id for s in parts]] = number
        sources = tuple(source for s in parts for source in s.source_ids)
        merged.append(replace(best, id=number, area=area, source_ids=sources))
    ids = id_of.to(named.ids.device)[named.ids]
    boxes = boxes_of(ids, len(merged))
    return replace(named, ids=ids, segments=tuple(replace(s, box=boxes[s.id - 1]) for s in merged))


class PredictionWriter:
    """Writes predictions into a folder, image by image; :meth:`finish` writes the json and csv files for all images.

    Always: ``<name>_overlay.png`` and ``segments.csv``.
    panoptic: ``panoptic/<name>.png`` and ``panoptic.json`` in COCO's format.
    semantic: ``semantic/<name>.png``, 0 for void and n for the n-th category of ``semantic.json``.
    instance: ``instances.json``, COCO's list of results with run-length encoded masks.

    Args:
        folder: created if it does not exist.
        task: one of :data:`TASKS`.
    """

    def __init__(self, folder: Path, task: str) -> None:
        self.folder, self.task = folder, task
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._rows: list[dict[str, Any]] = []
        self._names: Counter[str] = Counter()
        self._vocabulary: Vocabulary | None = None

    def add(self, image: Path, pixels: NDArray[np.uint8], named: NamedMap, file: ImageFile | None = None) -> None:
        """Writes the files of one image.

        Args:
            image: path of the image, for its name.
            pixels: (H, W, 3).
            named: its map (H, W).
            file: id and file name of the image in json and csv, see :func:`opsnet.prediction.image_ids.image_files`;
                ``None``: the number of images so far, and the name of ``image``.
        """
        from PIL import Image

        from opsnet.visualization.overlays import draw_overlay

        named, name = for_task(named, self.task), self._name_of(image)
        file = file or ImageFile(len(self._images), image.name)
        self._vocabulary = named.vocabulary
        overlay = draw_overlay(pixels, named, named.vocabulary.names, scale=None)
        with atomic_path(self.folder / f"{name}_overlay.png") as path:
            Image.fromarray(overlay).save(path)
        height, width = pixels.shape[:2]
        self._images.append(image_record(file, height, width))
        self._rows += [row_of(file.file_name, s, named.vocabulary) for s in named.segments]
        self._annotations += getattr(self, f"_add_{self.task}")(file.id, name, named)

    def _name_of(self, image: Path) -> str:
        """The image's file name without its suffix, or with it if another image has the same name."""
        self._names[image.stem] += 1
        if self._names[image.stem] == 1:
            return image.stem
        self._names[image.name] += 1
        same = self._names[image.name]
        return image.name if same == 1 else f"{image.name}_{same}"

    def _add_panoptic(self, number: ImageId, name: str, named: NamedMap) -> list[dict[str, Any]]:
        segments = [panoptic_segment(s, named.vocabulary) for s in named.segments]
        record = write_annotation(self.folder / "panoptic", number, f"{name}.png", named.ids.cpu().numpy(), segments)
        dropped = [{"source_id": mask.source_id, "reason": mask.reason} for mask in named.dropped]
        return [{**record, **({"dropped_masks": dropped} if dropped else {})}]

    def _add_semantic(self, number: ImageId, name: str, named: NamedMap) -> list[dict[str, Any]]:
        from PIL import Image

        values = torch.tensor([0, *(s.label + 1 for s in named.segments)])
        kind = np.uint8 if len(named.vocabulary) < 256 else np.uint16
        with atomic_path(self.folder / "semantic" / f"{name}.png") as path:
            Image.fromarray(values[named.ids.cpu()].numpy().astype(kind)).save(path)
        return [{"image_id": number, "file_name": f"{name}.png"}]

    def _add_instance(self, number: ImageId, name: str, named: NamedMap) -> list[dict[str, Any]]:
        from opsnet.metrics.instances import instances_from_map

        ids = named.vocabulary.ids
        return [
            {
                "image_id": number, "category_id": ids[s.label], "score": round(s.score, 4), "bbox": list(s.box),
                "segmentation": {**instance.mask, "counts": instance.mask["counts"].decode()}, **_sources(s),
            }
            for s, instance in zip(named.segments, instances_from_map(named), strict=True)
        ]  # fmt: skip

    def finish(self) -> None:
        """Writes the json and csv files for the images so far."""
        if self._vocabulary is None:
            return
        text = io.StringIO()
        is_given = any(MASK_COLUMN in row for row in self._rows)
        table = csv.DictWriter(text, (*COLUMNS, *([MASK_COLUMN] if is_given else [])), lineterminator="\n")
        table.writeheader()
        table.writerows({key: _safe(value) for key, value in row.items()} for row in self._rows)
        write_text(self.folder / "segments.csv", text.getvalue())
        categories = self._vocabulary.categories()
        if self.task == "instance":
            write_json(self.folder / "instances.json", self._annotations)
            return
        if self.task == "panoptic":
            path = self.folder / "panoptic.json"
            write_json(path, content(path, self._images, self._annotations, categories))
            return
        semantic = {"images": self._images, "annotations": self._annotations, "categories": categories}
        write_json(self.folder / "semantic.json", semantic)


def panoptic_segment(segment: NamedSegment, vocabulary: Vocabulary) -> dict[str, Any]:
    """A segment as an entry of COCO's ``segments_info``, with its scores."""
    names = {"names": [[n.name, round(n.score, 4)] for n in segment.top]} if len(segment.top) > 1 else {}
    path = {"path": [[n.name, round(n.score, 4)] for n in segment.path]} if segment.path else {}
    info = SegmentInfo(segment.id, vocabulary.ids[segment.label], area=segment.area)
    return {
        **segment_record(info, segment.box), "isthing": int(segment.is_thing), "score": round(segment.score, 4),
        "predicted_iou": round(segment.iou, 4), **names, **path, **_sources(segment),
    }  # fmt: skip


def row_of(file: str, segment: NamedSegment, vocabulary: Vocabulary) -> dict[str, Any]:
    """A segment as a row of :data:`COLUMNS`."""
    left, top, width, height = segment.box
    return {
        "file": file, "id": segment.id, "category_id": vocabulary.ids[segment.label], "name": segment.name,
        "kind": "thing" if segment.is_thing else "stuff", "score": f"{segment.score:.4f}",
        "predicted_iou": f"{segment.iou:.4f}", "area": segment.area, "left": left, "top": top, "width": width,
        "height": height, "names": _listed(segment.top, "; "), "path": _listed(segment.path, " > "),
        **({MASK_COLUMN: " ".join(map(str, segment.source_ids))} if segment.source_ids else {}),
    }  # fmt: skip


def _sources(segment: NamedSegment) -> dict[str, list[MaskId]]:
    """The ids of the given masks of which a segment consists, if masks were given."""
    return {"source_ids": list(segment.source_ids)} if segment.source_ids else {}


def _safe(cell: Any) -> Any:
    """Text that a spreadsheet would take for a formula gets an apostrophe, with which spreadsheets mark text."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def _listed(names: Sequence[NameScore], between: str) -> str:
    return between.join(f"{shown_name(n)} {n.score:.3f}" for n in names)


def shown_name(name: NameScore) -> str:
    """A name with its synonyms: "gown, robe"."""
    return ", ".join((name.name, *name.synonyms))
