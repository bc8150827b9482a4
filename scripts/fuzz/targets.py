"""What is fuzzed: for each kind of input a module with ``case(seed)`` and ``run(case, folder)``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any


@dataclass(frozen=True)
class Target:
    """A kind of input.

    Attributes:
        name: of the target.
        case: seed -> an input, always the same.
        run: reads the input as a command would, in a folder of its own.
        names: words of which a message must have one, if it does not name a file in the folder: keys and options.
        warm_up: loads what cases load late, before the processes are forked.
    """

    name: str
    case: Callable[[int], Any]
    run: Callable[[Any, Any], None]
    names: tuple[str, ...] = ()
    warm_up: Callable[[], object] = lambda: None


CASES = {
    "vocabularies": 7000, "vocabulary_texts": 5000, "name_trees": 3000, "settings": 6000, "options": 4000,
    "stored_configs": 2000, "panoptic": 8000, "scores": 4000, "coco": 5000, "labelme": 4000, "yolo": 3000,
    "voc": 2000, "cvat": 3000, "label_studio": 3000, "images": 6000, "given_masks": 3000, "proposals": 4000,
    "videos": 1000, "sources": 1000,
}  # fmt: skip
"""Number of cases of each target in a full run."""


def load(name: str) -> Target:
    """The target of a name.

    Raises:
        KeyError: there is none.
    """
    if name not in available():
        raise KeyError(name)
    module = import_module(f"scripts.fuzz.{name}")
    warm_up = getattr(module, "warm_up", lambda: None)
    return Target(name, module.case, module.run, getattr(module, "NAMES", ()), warm_up)


def available() -> list[str]:
    """Names of all targets."""
    return [name for name in CASES if find_spec(f"scripts.fuzz.{name}")]
