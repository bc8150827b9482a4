"""The code of README.md and docs/: blocks and command lines, and helpers to run them as a reader would.

``tests/test_documented.py`` runs all of it; ``tests/documented_exceptions.py`` says what is run elsewhere, or composed.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from opsnet.data.panoptic_png import read_ids

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"(?:\.venv/bin/)?(opsnet-[a-z-]+|python -m scripts\.[\w.]+|make [a-z-]+)\b")
SHELL = ("", "sh", "bash")
"""Languages of blocks whose lines are commands."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, as ``docs/api.md``; its language, "" if none is given; its text."""

    page: str
    language: str
    text: str


@dataclass(frozen=True)
class Line:
    """A command line: its page; where it stands: in a "block", a "table" or a "sentence"; the block's language."""

    page: str
    place: str
    text: str
    language: str = ""


def fenced(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    parts = re.split(r"^```(.*)\n", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    name = str(page.relative_to(ROOT))
    return [Block(name, language.strip(), text) for language, text in zip(parts[1::4], parts[2::4], strict=True)]


def blocks(page: Path, kind: str = "") -> list[str]:
    """The text of the blocks of a language, or without one."""
    return [block.text for block in fenced(page) if block.language == kind]


def lines(page: Path) -> list[Line]:
    """The command lines of a page: every line of its shell blocks, and what looks like a command elsewhere.

    Outside blocks, a command without arguments is only mentioned and is skipped.
    """
    name = str(page.relative_to(ROOT))
    shell = [block for block in fenced(page) if block.language in SHELL]
    found = [Line(name, "block", text, block.language) for block in shell for text in _split(block)]
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for paragraph in prose.splitlines():
        place = "table" if paragraph.startswith("|") else "sentence"
        for code in re.findall(r"`([^`]+)`", paragraph):
            if COMMAND.match(code) and " " in code:
                found.append(Line(name, place, code))
    return found


def commands(page: Path) -> list[str]:
    """The distinct command lines of a page."""
    return list(dict.fromkeys(line.text for line in lines(page)))


def _split(block: Block) -> list[str]:
    """The commands of a shell block, without comments, each on one line."""
    joined = re.sub(r"\s*\\\n\s*", " ", block.text)
    uncommented = [re.sub(r"(^|\s+)#.*", "", line) for line in joined.splitlines()]
    return [part.strip() for line in uncommented for part in line.split("; ") if part.strip()]


def run_documented(words: list[str], command: Any, *more: str) -> None:
    """Runs a command line with the fixture ``command``, or a script in this process, with ``more`` arguments."""
    if words[0].endswith("python") and words[1] == "-m":
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
