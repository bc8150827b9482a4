"""Judges a cell: what the user saw, whether what is on disk is whole, and whether the final result is right."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.faults.processes import Ended

OK, TRACEBACK, LOST, UNTRUE, HANG, LATE = "ok", "traceback", "lost", "untrue", "hang", "not injected"
NOT_APPLICABLE = "not applicable"
GOOD = (OK, NOT_APPLICABLE)


@dataclass(frozen=True)
class Problem:
    """Something that must not happen: its kind is a cell's verdict, its sentence says what was seen."""

    kind: str
    sentence: str


def problems_of_outcome(ended: Ended, codes: Sequence[int], text: str) -> list[Problem]:
    """What is wrong with the way in which a command ended.

    Args:
        ended: how it ended.
        codes: exit codes that are right.
        text: everything that it printed or logged.
    """
    found = []
    if ended.code is None:
        found.append(Problem(HANG, f"still running after {ended.seconds:.0f} s"))
    if ended.left:
        found.append(Problem(HANG, f"left running: {ended.left[0][:120]}"))
    if "Traceback (most recent call last)" in text:
        found.append(Problem(TRACEBACK, f"a traceback: {last_line(text)}"))
    if ended.code is not None and ended.code not in codes:
        found.append(Problem(TRACEBACK, f"exit code {ended.code} for {' or '.join(map(str, codes))}"))
    if ended.code is not None and ended.code >= 0 and ended.code != 0 and not last_line(ended.text):
        found.append(Problem(TRACEBACK, f"exit code {ended.code} without a sentence"))
    return found


def problems_of_files(folder: Path) -> list[Problem]:
    """Files that have the name of a result, but cannot be read.

    Hidden files, as temporary ones are, and links, as to the user's images, do not count.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") or part == "wandb" for part in path.relative_to(folder).parts)
        if hidden or path.is_symlink() or not path.is_file():
            continue
        try:
            _READERS.get(path.suffix, _nothing)(path)
        except Exception as error:
            found.append(
                Problem(LOST, f"{path.relative_to(folder)} is not whole: {' '.join(str(error).split())[:120]}")
            )
    return found


def problems_of_result(found: Mapping[str, Any], undisturbed: Mapping[str, Any]) -> list[Problem]:
    """Where a final result differs from the undisturbed run's: it says something else, lacks something, or has more."""
    changed = [key for key in found if key in undisturbed and found[key] != undisturbed[key]]
    missing, extra = undisturbed.keys() - found.keys(), found.keys() - undisturbed.keys()
    problems = [Problem(UNTRUE, f"{key} differs from the undisturbed run's") for key in changed[:1]]
    problems += [Problem(UNTRUE, f"{key} is not in the undisturbed run") for key in sorted(extra)[:1]]
    rows = {
        key.rpartition(": ")[0] for key in missing if "step " in key and key.rpartition(": ")[2].startswith("train/")
    }
    values = [key for key in missing if key.rpartition(": ")[0] not in rows]
    if values or len(rows) > 1:
        problems.append(Problem(LOST, f"{min(values or rows)} is missing in the end ({len(missing)} values)"))
    return problems


def problems_of_part(found: Mapping[str, Any], undisturbed: Mapping[str, Any]) -> list[Problem]:
    """Where the part that an interrupted run has written contradicts the undisturbed run."""
    wrong = [key for key in found if found[key] != undisturbed.get(key)]
    return [Problem(UNTRUE, f"what was written for {key} is not what the undisturbed run wrote") for key in wrong[:1]]


def problems_of_loss(lost: int, allowed: int, unit: str) -> list[Problem]:
    """More work lost than may be."""
    return [Problem(LOST, f"{lost} {unit} lost, at most {allowed} may be")] if lost > allowed else []


def verdict(problems: Sequence[Problem]) -> str:
    """The word for a cell: the worst of its problems."""
    kinds = {problem.kind for problem in problems}
    return next((kind for kind in (LATE, UNTRUE, LOST, HANG, TRACEBACK) if kind in kinds), OK)


def last_line(text: str) -> str:
    """The last line that is not empty, without the log's time and source."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].rpartition("] - ")[2].strip() if lines else ""


def _nothing(path: Path) -> None:
    """A file of a kind that is not checked."""


def _checkpoint(path: Path) -> None:
    from opsnet.checkpoint.reading import read_checkpoint

    read_checkpoint(path)


def _tensors(path: Path) -> None:
    from safetensors.torch import load_file

    load_file(path)


def _json(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(content, dict) and "annotations" in content and path.with_suffix("").is_dir():
        names = [entry["file_name"] for entry in content["annotations"]]
        missing = [name for name in names if not (path.with_suffix("") / name).is_file()]
        if missing:
            raise ValueError(f"it lists {missing[0]}, which does not exist ({len(missing)} of {len(names)})")


def _rows(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lengths = {len(row) for row in csv.reader(text.splitlines())}
    if len(lengths) > 1 or not text.endswith("\n"):
        raise ValueError("a row is cut off")


def _image(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        image.load()


def _yaml(path: Path) -> None:
    from omegaconf import OmegaConf

    if not path.read_bytes():
        raise ValueError("it is empty")
    OmegaConf.load(path)


_READERS = {
    ".ckpt": _checkpoint, ".safetensors": _tensors, ".json": _json, ".csv": _rows, ".png": _image, ".yaml": _yaml,
}  # fmt: skip
