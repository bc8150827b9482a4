"""Writes results of the Python API as ``opsnet-predict`` does: of one image, or of several into one folder."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opsnet.prediction import arguments
from opsnet.prediction.carriers import PanopticResult
from opsnet.prediction.formats import safe_cell
from opsnet.prediction.task_maps import TASKS
from opsnet.prediction.writing import PredictionWriter
from opsnet.utils.errors import InputError


def save_results(results: Iterable[PanopticResult], folder: str | Path) -> Path:
    """Writes the results of several images, which may be an iterator, into one folder, as ``opsnet-predict`` does.

    Args:
        results: results of one task, with their images.
        folder: created if it does not exist; files of earlier results are replaced.

    Returns:
        The folder.

    Raises:
        InputError: a result has no image, the tasks differ, or the folder is a file or cannot be written.
    """
    path, remaining = arguments.folder("folder", folder), iter(results)
    first = next(remaining, None)
    if first is None:
        return path
    with PredictionWriter(path, first.task) as writer:
        for result in itertools.chain([first], remaining):
            if result.task != writer.task:
                raise InputError(f"the results are of tasks {writer.task} and {result.task}: use a folder per task")
            writer.add(Path(result.file_name), result.pixels(), result)
    return path


def save_result(result: PanopticResult, folder: str | Path, pixels: NDArray[np.uint8]) -> Path:
    """Writes the result of one image; see :meth:`PanopticResult.save`."""
    path = arguments.folder("folder", folder)
    others = _images_in(path) - {result.file_name, safe_cell(result.file_name)}
    if others:
        raise InputError(
            f"folder {path} holds the result of {min(others)}, whose json would be replaced: give another folder, or "
            "write all with opsnet.save_results(results, folder)"
        )
    with PredictionWriter(path, result.task) as writer:
        writer.add(Path(result.file_name), pixels, result)
    return path


def _images_in(folder: Path) -> set[str]:
    """The file names of the images whose results a folder holds; those without a segment are not in the table."""
    names: set[str] = set()
    with suppress(OSError, ValueError, KeyError, csv.Error), (folder / "segments.csv").open(encoding="utf-8") as file:
        names |= {row["file"] for row in csv.DictReader(file)}
    for task in TASKS:
        with suppress(OSError, ValueError, KeyError, TypeError):  # no file, or none of ours
            data = json.loads((folder / f"{task}.json").read_text(encoding="utf-8"))
            names |= {str(image["file_name"]) for image in data["images"]}
    return names
