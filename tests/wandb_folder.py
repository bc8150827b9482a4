"""Reads the records in a wandb folder; newer versions of wandb have no Python reader for them."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK, FULL, LAST = 32768, 1, 4


@dataclass
class WandbRun:
    """The content of one ``.wandb`` file."""

    id: str = ""
    project: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: list[tuple[str, str]] = field(default_factory=list)  # name and alias
    exit_code: int | None = None

    def values(self, key: str) -> list[Any]:
        return [row[key] for row in self.history if key in row]


def read_wandb(path: Path) -> WandbRun:
    """Parses the records of one ``.wandb`` file."""
    from wandb.proto import wandb_internal_pb2

    run = WandbRun()
    for data in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        _add(run, record)
    return run


def _records(data: bytes) -> Iterator[bytes]:
    """The records of LevelDB's log format, in which wandb writes: blocks of 32 KiB, records in parts."""
    assert data.startswith(b":W&B")
    place, record = 7, b""
    while place + 7 <= len(data):
        left = BLOCK - place % BLOCK
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (FULL, LAST):
            yield record
            record = b""


def _add(run: WandbRun, record: Any) -> None:
    kind = record.WhichOneof("record_type")
    content = getattr(record, kind)
    if kind == "run":
        run.id, run.project, run.group, run.job_type = (
            content.run_id, content.project, content.run_group, content.job_type,
        )  # fmt: skip
        run.tags = list(content.tags)
        run.config.update(_values(content.config.update))
    elif kind == "config":
        run.config.update(_values(content.update))
    elif kind == "history":
        run.history.append(_values(content.item))
    elif kind == "summary":
        run.summary.update(_values(content.update))
    elif kind == "exit":
        run.exit_code = content.exit_code
    elif kind == "artifact":
        _add_artifact(run, content)
    elif kind == "request" and content.WhichOneof("request_type") == "log_artifact":
        _add_artifact(run, content.log_artifact.artifact)


def _add_artifact(run: WandbRun, artifact: Any) -> None:
    run.artifacts += [(artifact.name, alias) for alias in artifact.aliases if alias != "latest"]


def _values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def finished_runs(folder: Path, count: int = 1, seconds: float = 20) -> list[WandbRun]:
    """The content of a run's ``.wandb`` files once wandb's own process has written their ends, oldest first."""
    until = time.monotonic() + seconds
    while True:
        runs = [read_wandb(path) for path in wandb_files(folder)]
        if (len(runs) >= count and all(run.exit_code is not None for run in runs)) or time.monotonic() > until:
            return runs
        time.sleep(0.1)


def wandb_files(folder: Path) -> list[Path]:
    """The ``.wandb`` files of a run's folder, oldest first; ``latest-run`` is a link to the last."""
    found = [p for p in (folder / "wandb").glob("*/*.wandb") if not p.parent.is_symlink()]
    return sorted(found, key=lambda p: p.parent.name.removeprefix("offline-"))
