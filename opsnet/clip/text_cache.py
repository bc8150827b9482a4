"""A disk cache of text embeddings: 21,843 names take minutes once, and a fraction of a second afterwards.

A bank is one safetensors file, named by a hash of everything that it depends on. The file contains this hash and a
checksum, so that a damaged file, or one of other names or of another CLIP, is never used. While a bank is computed,
parts of it are stored, so that an interrupted run can resume and several processes can share the work.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from opsnet.utils.errors import InputError
from opsnet.utils.files import atomic_path

log = logging.getLogger(__name__)
Embed = Callable[[list[str]], Tensor]
"""Names -> (R, D)."""


class TextCache:
    """Caches the embeddings of lists of names.

    Args:
        folder: the folder of the files; created if needed.
        part: number of names between two saves.
    """

    def __init__(self, folder: str | Path, *, part: int = 1024) -> None:
        self.folder, self.part = Path(folder).expanduser(), part

    def rows(self, names: Sequence[str], embed: Embed, **depends_on: object) -> Tensor:
        """Embeddings of the names, (R, D) float32.

        Args:
            names: R texts.
            embed: computes the embeddings of a list of names.
            depends_on: json values that the embeddings also depend on; other values use another file.

        Raises:
            InputError: a computed embedding is not finite.
        """
        text = json.dumps({"names": list(names), "dtype": "float32", **depends_on}, sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:32]
        path = self.folder / f"{key}.safetensors"
        found = _read(path, len(names), key)
        if found is None:
            parts = self._compute(path, names, embed)
            found = torch.cat([rows for rows, _ in parts])
            if _write(path, found, key):
                for _, file in parts:
                    file.unlink(missing_ok=True)
        return found

    def _compute(self, path: Path, names: Sequence[str], embed: Embed) -> list[tuple[Tensor, Path]]:
        from rich.console import Console
        from rich.progress import track

        begins = range(0, len(names), self.part)
        parts = []
        for begin in track(begins, "Embedding names", console=Console(stderr=True), disable=len(begins) < 2):
            some = list(names[begin : begin + self.part])
            key = f"{path.stem}.{begin}"
            file = path.with_name(f"{key}.safetensors")
            rows = _read(file, len(some), key)
            if rows is None:
                rows = require_finite(embed(some).float().cpu(), some)
                if len(begins) > 1:
                    _write(file, rows, key)
            parts.append((rows, file))
        return parts


def require_finite(rows: Tensor, names: Sequence[str]) -> Tensor:
    """Returns text embeddings (R, D) of R names after checking that all are finite.

    Raises:
        InputError: one is not; the message gives its name.
    """
    finite = rows.isfinite().all(dim=1)
    if not bool(finite.all()):
        raise InputError(
            f"CLIP's text embedding of '{names[int(finite.int().argmin())]}' contains NaN or infinity: its weights are "
            "damaged, or their precision is too low; give other weights (clip.model.weights)"
        )
    return rows


def _read(path: Path, count: int, key: str) -> Tensor | None:
    """Reads rows (count, D) from a file; ``None`` if it does not exist, or is damaged or of another key (warnings)."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            rows: Tensor = file.get_tensor("rows")
            about = file.metadata() or {}
    except (OSError, SafetensorError, ValueError) as error:
        log.warning("text embeddings %s cannot be read (%s): computing them again", path, error)
        return None
    if about.get("key") != key:
        log.warning("text embeddings %s are of other names, or of an earlier version: computing them again", path)
        return None
    if not _are_rows(rows, count) or _checksum(rows) != about.get("sha256"):
        log.warning("text embeddings %s are damaged: computing them again", path)
        return None
    return rows


def _are_rows(rows: Tensor, count: int) -> bool:
    """Whether a tensor is (count, D) float32 and finite, which a cache of somebody else need not be."""
    return rows.dtype == torch.float32 and rows.ndim == 2 and len(rows) == count and bool(rows.isfinite().all())


def _write(path: Path, rows: Tensor, key: str) -> bool:
    """Whether the file could be written; if not, only a warning is logged, because the result does not depend on it."""
    try:
        with atomic_path(path) as temporary:
            save_file({"rows": rows.contiguous()}, temporary, metadata={"sha256": _checksum(rows), "key": key})
    except (OSError, SafetensorError) as error:
        log.warning(
            "text embeddings could not be cached in %s (%s): they will be computed again next time", path, error
        )
        return False
    return True


def _checksum(rows: Tensor) -> str:
    return hashlib.sha256(rows.contiguous().numpy().data).hexdigest()
