"""Folders of binary masks of one image, as segment-anything's ``amg.py`` writes them: 0.png, 1.png, ..., metadata.csv.

A PNG is one mask, 0 outside and one other value inside; its number is the mask's id. The score is ``predicted_iou`` of
``metadata.csv``, which may be missing.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from opsnet.prediction.given_masks import GivenMasks, require_few
from opsnet.prediction.mask_records import Mask, MaskError, Size, checked_score, require_size
from opsnet.utils.errors import InputError

METADATA = "metadata.csv"


def is_mask_folder(folder: Path) -> bool:
    """Whether a folder has masks of one image: numbered PNGs and nothing else of masks, or SAM's table of them."""
    if not folder.is_dir():
        return False
    if (folder / METADATA).is_file():
        return True
    files = [file for file in folder.iterdir() if file.suffix.lower() in (".png", ".json")]
    return bool(files) and all(file.suffix.lower() == ".png" and _is_number(file.stem) for file in files)


def read_mask_folder(folder: Path, size: Size) -> GivenMasks:
    """The masks of a folder, by number.

    Args:
        folder: see :func:`is_mask_folder`; other files in it are ignored.
        size: (height, width) in pixels of the image.

    Raises:
        InputError: a PNG is no binary mask or has another size, there are too many, or the table does not fit them.
    """
    files = {int(f.stem): f for f in folder.iterdir() if f.suffix.lower() == ".png" and _is_number(f.stem)}
    require_few(len(files), size, str(folder))
    ids = sorted(files)
    masks: Mask = np.zeros((len(ids), *size), np.bool_)
    for mask, number in zip(masks, ids, strict=True):
        mask[:] = _read_binary(files[number], size)
    scores = _scores(folder / METADATA) if (folder / METADATA).is_file() else dict.fromkeys(ids, 1.0)
    missing = [number for number in ids if number not in scores]
    if missing:
        raise InputError(f"masks {folder}: {METADATA} has no row for {missing[0]}.png: correct it, or delete it")
    return GivenMasks(masks, tuple(ids), np.array([scores[number] for number in ids], np.float32))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15


def _read_binary(path: Path, size: Size) -> Mask:
    try:
        with Image.open(path) as image:
            require_size(image.size[::-1], size)
            pixels = np.asarray(image.convert("L") if image.mode in ("1", "P") else image)
    except MaskError as error:
        raise InputError(f"masks {path}: the mask {error}") from error
    except Exception as error:  # Pillow's readers raise whatever their parsing stumbles over
        raise InputError(f"masks {path} cannot be read as an image ({error}): replace the file") from error
    values = np.unique(pixels)
    if pixels.ndim != 2 or (values != 0).sum() > 1:
        raise InputError(
            f"masks {path} is no binary mask: in a folder of 0.png, 1.png, ... each is one mask, grey, 0 outside and "
            "255 inside; maps of ids have the names of their images"
        )
    return np.asarray(pixels != 0)


def _scores(path: Path) -> dict[int, float]:
    """``predicted_iou`` by id; 1 if the table has no such column."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        return {int(row["id"]): checked_score(row.get("predicted_iou") or 1.0) for row in rows}
    except MaskError as error:
        raise InputError(f"masks {path}: a mask {error}") from error
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError(
            f"masks {path} is no table with columns id and predicted_iou ({error!r:.80}): correct it, or delete it"
        ) from error
