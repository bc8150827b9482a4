"""A disk cache of text embeddings: 21,843 names take minutes once, and a fraction of a second afterwards.

A bank is one safetensors file, named by a hash of everything that it depends on, with a checksum.
While a bank is computed, parts of it are stored, so that an interrupted run can resume and several processes can share
the work.
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
        """
        text = json.dumps({"names": list(names), "dtype": "float32", **depends_on}, sort_keys=True)
        path = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"
        found = _read(path, len(names))
        if found is None:
            parts = self._compute(path, names, embed)
            found = torch.cat([rows for rows, _ in parts])
            if _write(path, found):
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
            file = path.with_name(f"{path.stem}.{begin}.safetensors")
            rows = _read(file, len(some))
            if rows is None:
                rows = embed(some).float().cpu()
                if len(begins) > 1:
                    _write(file, rows)
            parts.append((rows, file))
        return parts


def _read(path: Path, count: int) -> Tensor | None:
    """Reads rows (count, D) from a file; ``None`` if it does not exist or is damaged (with a warning)."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            rows: Tensor = file.get_tensor("rows")
            expected = (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError, ValueError) as error:
        log.warning("text embeddings %s cannot be read (%s): computing them again", path, error)
        return None
    if not _are_rows(rows, count) or _checksum(rows) != expected:
        log.warning("text embeddings %s are damaged: computing them again", path)
        return None
    return rows


def _are_rows(rows: Tensor, count: int) -> bool:
    """Whether a tensor is (count, D) float32 and finite, which a cache of somebody else need not be."""
    return rows.dtype == torch.float32 and rows.ndim == 2 and len(rows) == count and bool(rows.isfinite().all())


def _write(path: Path, rows: Tensor) -> bool:
    """Whether the file could be written; if not, only a warning is logged, because the result does not depend on it."""
    try:
        with atomic_path(path) as temporary:
            save_file({"rows": rows.contiguous()}, temporary, metadata={"sha256": _checksum(rows)})
    except (OSError, SafetensorError) as error:
        log.warning(
            "text embeddings could not be cached in %s (%s): they will be computed again next time", path, error
        )
        return False
    return True


def _checksum(rows: Tensor) -> str:
    return hashlib.sha256(rows.contiguous().numpy().data).hexdigest()
