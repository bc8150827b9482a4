"""What decides the results of a prediction, as hashes, so that one that is continued is not mixed with another."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from opsnet.metrics.results import versions
from opsnet.utils.files import fingerprint

IRRELEVANT = {"image", "output", "overwrite", "resume", "device", "num_workers", "trainer", "hydra"}
"""Keys of conf/predict.yaml that change no result; images and device have entries of their own."""


def made_from(cfg: DictConfig, images: Any, device: str) -> dict[str, str]:
    """Hashes, of 16 hex digits each, of what decides the results.

    Args:
        cfg: conf/predict.yaml; of keys that name a file, the file's content counts and not its path.
        images: what tells the images, such as their names.
        device: "cpu" or "cuda": their results differ in the last digits.
    """
    relevant = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in IRRELEVANT])
    values: Any = OmegaConf.to_container(relevant, resolve=True)
    values.pop("paths", None)  # only now that others refer to them no more
    for key, content in (("checkpoint", fingerprint), ("masks", _listing)):
        if (folder := _path(values.get(key))) is not None and folder.is_dir():
            values[key] = content(folder)
    values |= {"images": images, "device": device, "versions": versions()}
    return {str(key): _digest(_content(value)) for key, value in values.items()}


def _content(value: Any) -> Any:
    """A value of the configuration, with the content of files in place of their paths."""
    if isinstance(value, dict):
        return {key: _content(part) for key, part in value.items()}
    path = _path(value)
    return value if path is None or not path.is_file() else fingerprint(path)


def _path(value: Any) -> Path | None:
    """The file or folder that a text names, if there is one."""
    with suppress(OSError, ValueError, RuntimeError):  # texts that are no paths
        if isinstance(value, str) and value and (path := Path(value).expanduser()).exists():
            return path
    return None


def _listing(folder: Path) -> list[list[Any]]:
    """Name, size and time of change of each file: hashing the content of 100,000 masks would take minutes."""
    files = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    return [[path.relative_to(folder).as_posix(), state.st_size, state.st_mtime_ns] for path, state in files]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=repr).encode()).hexdigest()[:16]
