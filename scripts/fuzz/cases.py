"""One input of the fuzz: files in a folder of its own, and arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """An input.

    Attributes:
        files: content by path relative to the case's folder.
        arguments: what the target passes on besides, plain values.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Writes the files below ``folder``."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


class Untrue(AssertionError):
    """A reader accepted an input that it, or another reader of the same file, contradicts."""
