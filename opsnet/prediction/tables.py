"""What a prediction writes about all images: a table of segments, and the json of its task."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opsnet.data.coco_panoptic_writing import content
from opsnet.prediction.formats import columns_of, safe_cell
from opsnet.prediction.image_writing import WrittenImage
from opsnet.utils.files import write_json, write_text

TABLES = ("segments.csv", "panoptic.json", "semantic.json", "instances.json")


def write_tables(folder: Path, task: str, categories: Sequence[dict[str, Any]], images: Sequence[WrittenImage]) -> None:
    """Writes the tables of the images, in their order.

    Args:
        folder: where the images' files are.
        task: one of :data:`opsnet.prediction.task_maps.TASKS`.
        categories: the vocabulary's.
        images: see :class:`WrittenImage`.

    Raises:
        WriteError: the disk is full or cannot be written, and the files are as they were.
    """
    listed = [image.image for image in images]
    annotations = [annotation for image in images for annotation in image.annotations]
    if task == "instance":
        write_json(folder / "instances.json", annotations)
    elif task == "panoptic":
        path = folder / "panoptic.json"
        write_json(path, content(path, listed, annotations, categories))
    else:
        semantic = {"images": listed, "annotations": annotations, "categories": list(categories)}
        write_json(folder / "semantic.json", semantic)
    _write_segments(folder / "segments.csv", [row for image in images for row in image.rows])


def _write_segments(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, columns_of(rows), lineterminator="\n")
    table.writeheader()
    table.writerows(_written(row) for row in rows)
    write_text(path, text.getvalue())


def _written(row: dict[str, Any]) -> dict[str, Any]:
    """A row of segments.csv."""
    rounded = {key: f"{row[key]:.4f}" for key in ("score", "predicted_iou")}
    return {key: safe_cell(value) for key, value in {**row, **rounded}.items()}
