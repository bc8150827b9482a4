"""PyTorch's files of other people: no code in them runs, and they take no more memory than they have bytes."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opsnet.utils.errors import reason_of


def load_tensors(path: Path, *, mmap: bool = False) -> Any:
    """The content of a file that ``torch.save`` wrote, on the CPU; only tensors and plain values are read.

    Args:
        path: path of the file.
        mmap: map the tensors into memory instead of reading them.

    Raises:
        ValueError: the file is damaged, of another kind, or holds code; or it has compressed parts, which could inflate
            to any size: ``torch.save`` compresses nothing.
        OSError: it cannot be read.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                    raise ValueError("it is compressed, as no file of torch.save is")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # PyTorch's parser raises whatever it stumbles over, IndexError included
        raise ValueError(reason_of(error) or type(error).__name__) from error


def not_stored(weights: Mapping[str, Any], path: Path) -> str | None:
    """The name of a tensor whose values a file cannot hold, ``None`` if it holds all of them.

    An expanded tensor, or one that only states its size, would take more memory than the file has bytes.

    Args:
        weights: what was read from the file; values that are no tensors are ignored.
        path: path of the file.
    """
    left, known = path.stat().st_size, set[int]()
    for name, tensor in weights.items():
        if not isinstance(tensor, Tensor):
            continue
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_nested:
            return name
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:  # weights may share one
            known.add(storage.data_ptr())
            left -= storage.nbytes()
        if left < 0 or tensor.numel() * tensor.element_size() > storage.nbytes():
            return name
    return None
