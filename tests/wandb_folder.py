"""Reads a wandb folder back with wandb's own reader."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class WandbRun:
    """What one ``.wandb`` file holds."""

    id: str = ""
    project: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, list[str]] = field(default_factory=dict)
    exit_code: int | None = None

    def values(self, key: str) -> list[Any]:
        return [row[key] for row in self.history if key in row]


def read_wandb(path: Path) -> WandbRun:
    """The records of one ``.wandb`` file."""
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    store, run = DataStore(), WandbRun()
    store.open_for_scan(str(path))
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        _add(run, record)
    return run


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
        run.artifacts[content.name] = list(content.aliases)
    elif kind == "request" and content.WhichOneof("request_type") == "log_artifact":
        run.artifacts[content.log_artifact.artifact.name] = list(content.log_artifact.artifact.aliases)


def _values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def wandb_files(folder: Path) -> list[Path]:
    """The ``.wandb`` files of a run's folder, oldest first; ``latest-run`` is a link to the last."""
    found = [p for p in (folder / "wandb").glob("*/*.wandb") if not p.parent.is_symlink()]
    return sorted(found, key=lambda p: p.parent.name.removeprefix("offline-"))
