"""Shards for tests, written by the package webdataset, and hostile ones by the standard library."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def image_bytes(number: int, form: str = "PNG") -> bytes:
    """An image of 4 x 6 pixels that differs from every other."""
    stream = io.BytesIO()
    pixels = np.full((4, 6, 3), number % 251, np.uint8) + np.arange(6, dtype=np.uint8)[:, None] * 3
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


def write_shards(folder: Path, counts: Sequence[int], classes: int = 3) -> list[Path]:
    """Shards of as many samples as ``counts`` says; sample k of all has image k, label k % classes and both files."""
    import webdataset

    folder.mkdir(parents=True, exist_ok=True)
    paths, number = [], 0
    for shard, count in enumerate(counts):
        paths.append(folder / f"train-{shard:04d}.tar")
        with webdataset.TarWriter(str(paths[-1])) as writer:
            for _ in range(count):
                label = number % classes
                about = {"filename": f"{number:05d}.PNG", "label": label, "names": ["cat", "dog", "grass"][label]}
                writer.write(
                    {"__key__": f"{number:05d}", "png": image_bytes(number), "cls": label, "json": about}
                )  # fmt: skip
                number += 1
    return paths


def write_info(folder: Path, paths: Sequence[Path], lengths: Sequence[int], **changes: Any) -> None:
    """The ``_info.json`` of timm's datasets."""
    names = [path.name for path in paths]
    train = {"name": "train", "filenames": names, "shard_lengths": list(lengths), "num_samples": sum(lengths)}
    (folder / "_info.json").write_text(json.dumps({"name": "pets", "splits": {"train": {**train, **changes}}}))


def write_tar(path: Path, files: Iterable[tuple[str, bytes]], **fields: Mapping[str, Any]) -> Path:
    """A .tar of files with any names; ``fields`` sets attributes of the entries of these names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for key, value in fields.get(name, {}).items():
                setattr(entry, key, value)
            tar.addfile(entry, io.BytesIO(content) if entry.isreg() else None)
    return path
