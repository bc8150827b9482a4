"""Finished runs on disk for tests of tables."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml


def write_evaluation(
    folder: Path, metrics: dict[str, float], *, experiment: str, trained_as: str | None = None, age: int = 0,
    **more: Any,
) -> Path:  # fmt: skip
    """Writes the folder of an evaluation; a larger ``age`` makes it older."""
    folder.mkdir(parents=True)
    content = {"experiment": experiment, "seed": 3, "metrics": metrics, "trained_as": trained_as, **more}
    (folder / "results.json").write_text(json.dumps(content))
    os.utime(folder / "results.json", (10_000 - age, 10_000 - age))
    return folder


def write_training(folder: Path, *, experiment: str, world: str, age: int = 0) -> Path:
    """Writes the folder of a finished training."""
    write_evaluation(folder, {"val/PQ": 50.0}, experiment=experiment, age=age)
    for name in (".hydra", "checkpoints"):
        (folder / name).mkdir()
    (folder / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump({"hydra": {"runtime": {"choices": {"world": world}}}}))
    (folder / "checkpoints" / "last.ckpt").touch()
    return folder


def write_unhappy(folder: Path) -> None:
    """Writes a results.json without results."""
    folder.mkdir(parents=True)
    (folder / "results.json").write_text("{")


def write_two_tables(folder: Path) -> Path:
    """Writes rows 6 and 7 of Table 1 and the first line of Table 6, in both worlds."""
    metrics = {}
    for home, abroad in (("coco", "ade20k"), ("scenes", "scenes_novel")):
        for name, values in {"full": (52.0, 18.0), "query_only": (52.0, 14.0)}.items():
            metrics |= {f"{d}/{name}/cls_iou/PQ": v for d, v in zip((home, abroad), values, strict=True)}
        metrics |= {f"{abroad}/alpha=0,beta={b}/cls_iou/PQ": 14.0 + b for b in (0, 0.25, 0.5, 0.75, 1)}
    write_evaluation(folder / "a", metrics, experiment="opsnet_r50")
    return folder
