"""Reads json and YAML files of unknown origin, within bounds; every reader of users' files reads them here.

The messages of errors continue after the file's path, which each caller puts in front with what the file is.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

LARGEST_JSON = 2**31
"""Bytes; COCO's largest json has 0.5 GB, and reading takes several times as much memory."""
LARGEST_YAML = 4 * 2**20
"""Bytes; a tree of ImageNet-21K's names has less than one MB, and YAML is read slowly."""
DEEPEST_YAML = 64
"""Levels; the longest path of WordNet has 20."""


class FileError(ValueError):
    """A file cannot be read; the message continues after its path and says how to fix it."""


def read_json(path: Path, largest: int = LARGEST_JSON) -> Any:
    """The content of a json file in UTF-8, with or without a byte order mark.

    Args:
        path: the file.
        largest: most bytes.

    Raises:
        FileError: it is missing, larger, not UTF-8, not json, or nested too deeply for Python.
    """
    try:
        return json.loads(read_text(path, largest))
    except RecursionError as error:
        raise FileError("is not valid json (it is nested too deeply): replace the file") from error
    except MemoryError as error:
        raise FileError("does not fit into this machine's memory: split it") from error
    except FileError:
        raise
    except ValueError as error:  # malformed, or a number of thousands of digits
        raise FileError(f"is not valid json ({error}): replace the file") from error


def read_yaml(path: Path, *, unique_keys: bool = False) -> Any:
    """The content of a YAML file in UTF-8: plain values without aliases, which let a small file stand for a huge one.

    Args:
        path: the file.
        unique_keys: refuse a mapping with two equal keys, of which YAML would silently keep the last.

    Raises:
        FileError: it is missing, larger than :data:`LARGEST_YAML`, nested deeper than :data:`DEEPEST_YAML`, not YAML,
            or has aliases.
    """
    import yaml

    text = read_text(path, LARGEST_YAML)
    try:
        _check_events(text)
        return yaml.load(text, _loader(unique_keys))
    except FileError:
        raise
    # A value such as 2024-99-99 or {[1]: 2} fails in PyYAML's constructors, each with an error of its own.
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise FileError(f"is not valid YAML ({' '.join(str(error).split())}): replace the file") from error


def read_text(path: Path, largest: int) -> str:
    """The content of a text file in UTF-8, with or without a byte order mark.

    Raises:
        FileError: it is missing, has more than ``largest`` bytes, or is not UTF-8.
    """
    require_size(path, largest)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(f"is not UTF-8 text ({error}): save it as UTF-8") from error
    except OSError as error:
        raise FileError(f"cannot be read ({error.strerror}): check its permissions") from error


def require_size(path: Path, largest: int) -> None:
    """Checks that a path is a file of at most ``largest`` bytes.

    Raises:
        FileError: it is missing, no file, or larger.
    """
    if not os.path.isfile(path):  # False for a name that no file can have, where pathlib raises, and for a pipe
        raise FileError("is not a file: name one" if os.path.exists(path) else "does not exist: check the path")
    if (size := path.stat().st_size) > largest:
        raise FileError(f"has {size:,} bytes, more than the {largest:,} that are read: split it")


def _check_events(text: str) -> None:
    """Checks depth and aliases before anything is built."""
    import yaml

    depth = 0
    for event in yaml.parse(text, _parser()):
        line = event.start_mark.line + 1 if event.start_mark is not None else 1
        if isinstance(event, yaml.AliasEvent):
            raise FileError(f"has the alias *{event.anchor} in line {line}: write out what it stands for")
        depth += isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent))
        depth -= isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent))
        if depth > DEEPEST_YAML:
            raise FileError(f"is nested deeper than {DEEPEST_YAML} levels in line {line}: write it flatter")


def _parser() -> Any:
    """PyYAML's fast loader where it was built with libyaml."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _loader(unique_keys: bool) -> Any:
    if not unique_keys:
        return _parser()

    class Loader(_parser()):  # type: ignore[misc]
        """Refuses equal keys."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: set[Any] = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if key in seen:
                    raise FileError(f"has '{key}' twice in one place: remove one of them")
                seen.add(key)
            found: dict[Any, Any] = super().construct_mapping(node, deep)
            return found

    return Loader
