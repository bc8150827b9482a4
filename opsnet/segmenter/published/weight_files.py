"""Reads files of untrusted weights without executing any code in them.

safetensors holds only tensors; ``torch.load(weights_only=True)`` refuses code; detectron2's pickles are read by an
unpickler that only accepts numpy arrays and plain containers.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from opsnet.utils.errors import InputError, reason_of
from opsnet.utils.torch_files import load_tensors, not_stored

# The globals of a pickled dict of numpy arrays; Python 3 reads the bytes of protocol 2 with ``_codecs.encode``.
_ADMITTED = {
    ("collections", "OrderedDict"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
}
_WRAPPERS = ("model", "state_dict")
FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")
"""Files with the weights in a folder of transformers; the first that exists is read."""


class WeightsError(InputError):
    """Published weights that cannot be used; the message names the problem and the fix."""


class _NumbersOnly(pickle.Unpickler):
    """Refuses everything except arrays and plain containers."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it requires {module}.{name}, which weights do not need")
        return super().find_class(module, name)


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """All tensors of a file or folder by name, on the CPU.

    Args:
        path: a ``.safetensors`` file, a folder of transformers (``model.safetensors``, also sharded, or else
            ``pytorch_model.bin``), a ``.pkl`` of detectron2, or a file in PyTorch's own format.

    Raises:
        WeightsError: the file is missing, truncated, not a file of weights, or holds code.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise WeightsError(f"weights {path} do not exist: check the path")
    read = {".safetensors": _safetensors, ".pkl": _detectron2}.get(path.suffix, load_tensors)
    return _plain(path, _guarded(path, read))


def _folder(folder: Path) -> dict[str, Tensor]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return {name: tensor for shard in _shards(index) for name, tensor in read_weights(folder / shard).items()}
    for name in FOLDER_FILES:
        if (folder / name).is_file():
            return read_weights(folder / name)
    known = " or ".join(FOLDER_FILES)
    raise WeightsError(f"folder {folder} holds no {known}: give a folder of transformers, or a file")


def _shards(index: Path) -> list[str]:
    """The files listed in an index, which must be in the same folder."""
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{index} is not an index of weights ({type(error).__name__}): download it again") from error
    for shard in shards:
        if not isinstance(shard, str) or Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise WeightsError(
                f"{index} names {shard!r}, which is not a .safetensors file in its folder: download it again"
            )
    return sorted(shards)


def _guarded(path: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(path)
    except Exception as error:  # broken or foreign files raise many types
        reason = reason_of(error) or type(error).__name__
        raise WeightsError(
            f"weights {path} cannot be read ({reason}): the file is truncated, not a file of weights, or holds code; "
            "download it again, or convert it to safetensors where it was created"
        ) from error


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _detectron2(path: Path) -> Any:
    with path.open("rb") as file:
        return _NumbersOnly(file, encoding="latin1").load()


def _plain(path: Path, content: Any) -> dict[str, Tensor]:
    """The tensors of a loaded file, which may be wrapped as ``{"model": ...}`` next to other entries."""
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise WeightsError(f"weights {path} hold a {type(content).__name__}, not a dict of tensors: give a state dict")
    size = path.stat().st_size
    as_tensors = {k: _as_tensor(v, size) for k, v in content.items()}
    tensors = {str(k): v for k, v in as_tensors.items() if isinstance(v, Tensor)}
    if not tensors:
        raise WeightsError(f"weights {path} hold no tensor: give a state dict")
    if odd := not_stored(tensors, path):
        raise WeightsError(
            f"weights {path} hold '{odd}', which is not a tensor with all its numbers in the file: download it again"
        )
    return tensors


def _as_tensor(value: Any, size: int) -> Any:
    """An array as a tensor of the same memory, copied only if it may not be written to; other values unchanged.

    An array that claims more values than a file of ``size`` bytes holds would need that memory for its copy.
    """
    if not isinstance(value, np.ndarray) or value.nbytes > size:
        return value
    try:
        return torch.from_numpy(np.require(value, requirements="W"))
    except (TypeError, ValueError):  # an array of texts or objects, or of another byte order
        return value
