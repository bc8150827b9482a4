"""Writes checkpoints that survive a crash: whole or not at all, and never over the only good one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from opsnet.checkpoint.reading import check_finite
from opsnet.utils.errors import CheckpointError
from opsnet.utils.files import replace_durably
from opsnet.utils.torch_files import load_tensors

_PREVIOUS = ".previous"


def previous(path: Path) -> Path:
    """Path at which the checkpoint before the one at ``path`` is kept: ``last.ckpt`` -> ``last.previous.ckpt``."""
    return path.with_name(f"{path.stem}{_PREVIOUS}{path.suffix}")


class DurableCheckpointIO(TorchCheckpointIO):
    """Lightning's plugin that writes and reads checkpoints.

    Lightning's own writes into the temporary folder and copies over the target if that is on another filesystem, so
    that a crash at that moment leaves a torn file. This one writes beside the target, waits for the disk, renames, and
    keeps the previous checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Replaces the checkpoint at ``path``.

        Raises:
            CheckpointError: a weight is not finite, or the file cannot be written; the old file is then untouched.
        """
        path = Path(path)
        check_finite(_weights(checkpoint), f"the checkpoint for {path}")
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
            _keep(path)
            replace_durably(temporary, path)
        except (OSError, RuntimeError) as error:  # torch.save turns a failed write into a RuntimeError
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
            kept = f"; {path.name} is still the one before" if path.is_file() else ""
            raise CheckpointError(
                f"checkpoint {path} could not be written ({reason}){kept}: make room or choose another output, and "
                "continue with resume=auto"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Reads a checkpoint without executing code in it, whatever ``weights_only`` says.

        Raises:
            CheckpointError: it cannot be read.
        """
        try:
            checkpoint: dict[str, Any] = load_tensors(Path(path))
        except ValueError as error:
            raise CheckpointError(f"checkpoint {path} cannot be read ({error}): give another one") from error
        for state in checkpoint.get("callbacks", {}).values():
            _keep_own_files(state)
        return checkpoint


def _keep_own_files(state: Any) -> None:
    """Removes paths elsewhere from the state of Lightning's ``ModelCheckpoint``, which deletes what it has replaced."""
    if not isinstance(state, dict) or "best_model_path" not in state:
        return
    folder = Path(str(state.get("dirpath"))).absolute()

    def is_own(path: Any) -> bool:
        return isinstance(path, str) and Path(path).absolute().parent == folder and Path(path).name != ".."

    best = state.get("best_k_models")
    state["best_k_models"] = {k: v for k, v in best.items() if is_own(k)} if isinstance(best, dict) else {}
    for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
        state[key] = state[key] if is_own(state.get(key)) else ""


def _weights(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in checkpoint.get("state_dict", {}).items() if isinstance(v, torch.Tensor)}


def _keep(path: Path) -> None:
    """Keeps the file at ``path`` as the previous one; it also stays at ``path`` until that is replaced."""
    if not path.is_file():
        return
    kept, link = previous(path), path.with_name(f".{path.stem}.{os.getpid()}.link")
    with suppress(FileNotFoundError):
        link.unlink()
    try:
        os.link(path, link)
    except OSError:  # a filesystem without hard links: for a moment, only the previous file exists
        path.replace(kept)
        return
    link.replace(kept)


def remove_leftovers(folder: Path) -> None:
    """Removes what killed processes left half written; no other process may be writing into the folder."""
    for pattern in (".*.part", ".*.link"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
