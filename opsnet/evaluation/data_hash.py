"""Hashes of what stored proposals were made from, so that they are not scored on, or mixed with, other data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.utils.files import checksum


def data_hashes(dataset: PanopticDataset) -> dict[str, str]:
    """Hashes of a dataset's annotations, images and transform; each is 16 hex digits.

    Returns:
        ``annotations``: of the bytes of the panoptic json. ``images``: of the names and sizes in bytes of the image
        files, in order. ``transform``: of the transform's class and attributes. ``instances``: of the bytes of LVIS'
        json, if there is one.
    """
    transform = dataset.transform
    about = [type(transform).__name__, {} if transform is None else vars(transform)]
    return {
        "annotations": checksum(dataset.annotations)[:16],
        "images": _digest(f"{path.name} {path.stat().st_size}" for path in dataset.image_paths),
        "transform": _digest([json.dumps(about, sort_keys=True, default=repr)]),
        **({} if dataset.instances is None else {"instances": checksum(dataset.instances)[:16]}),
    }


def differing(stored: dict[str, Any], current: dict[str, str]) -> list[str]:
    """What differs of annotations and images, which must be those of the proposals; the transform only makes them."""
    return [key for key in ("annotations", "images") if stored.get(key) != current[key]]


def _digest(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\n")
    return digest.hexdigest()[:16]
