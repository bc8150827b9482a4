"""The commands in a documentation page, and helpers to run them as a reader would."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from opsnet.data.panoptic_png import read_ids

ROOT = Path(__file__).parent.parent
COMMAND = re.compile(r"(\.venv/bin/)?(opsnet-[a-z-]+|python -m scripts\.[\w.]+|make [a-z]+)\b")


def blocks(page: Path, kind: str = "") -> list[str]:
    """The fenced blocks of a language, or without one."""
    parts = re.split(r"^```(.*)\n", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [text for language, text in zip(parts[1::4], parts[2::4], strict=True) if language == kind]


def commands(page: Path) -> list[str]:
    """The distinct command lines in blocks without a language, in tables and in sentences.

    In sentences, a command without arguments is only mentioned and is skipped.
    """
    fenced = [line for block in blocks(page) for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    named = [
        code
        for line in prose.splitlines()
        for code in re.findall(r"`([^`]+)`", line)
        if line.startswith("|") or " " in code
    ]
    return list(dict.fromkeys(" ".join(code.split()) for code in [*fenced, *named] if COMMAND.match(code)))


def run_documented(words: list[str], command: Any, *more: str) -> None:
    """Runs a command line with the fixture ``command``, or a script in this process, with ``more`` arguments."""
    if words[:2] == ["python", "-m"]:
        import_module(words[2]).main([*words[3:], *more])
        return
    name = Path(words[0]).name.removeprefix("opsnet-").replace("-", "_")
    module = import_module(f"opsnet.commands.{name}")
    if name in ("score", "prepare"):  # the commands that do not use Hydra
        module.main([*words[1:], *more])
        return
    code, error = command(module.main, *words[1:], *more)
    assert code == 0, (shlex.join(words), error)


def class_masks(world: Path, split: str, images: Path, masks: Path) -> list[dict[str, Any]]:
    """Writes a dataset of the synthetic world as images and PNGs of category ids; returns its categories."""
    data = json.loads((world / "annotations" / f"panoptic_{split}.json").read_text())
    images.mkdir()
    masks.mkdir()
    for annotation in data["annotations"]:
        ids = read_ids(world / "annotations" / f"panoptic_{split}" / annotation["file_name"])
        classes = np.zeros(ids.shape, np.uint8)
        for segment in annotation["segments_info"]:
            classes[ids == segment["id"]] = segment["category_id"]
        Image.fromarray(classes).save(masks / annotation["file_name"])
    for image in data["images"]:
        shutil.copy(world / split / image["file_name"], images)
    return list(data["categories"])
