"""Values in the yamls that Hydra wrote into a run's folder, which may come from another person."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LARGEST, _DEEPEST = 4 * 2**20, 50  # bytes, and levels, that no run's configuration has


def read_run_yaml(path: Path) -> Any:
    """The content of a yaml in a run's ``.hydra``, as plain values.

    Nothing is interpolated: ``${oc.env:HOME}`` stays a text. References within the file, which Hydra does not write,
    could describe any amount of data, and deep nesting would end the parser.

    Args:
        path: path of the file.

    Returns:
        Mappings, lists and plain values; ``None`` if there is no such file, or Hydra cannot have written it.
    """
    import yaml

    if not path.is_file() or path.stat().st_size > _LARGEST:
        return None
    depth = 0
    try:
        text = path.read_text(encoding="utf-8")
        for event in yaml.parse(text, yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                return None
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                return None
        return yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):
        return None


def run_value(path: Path, key: str) -> Any:
    """One value in such a file; ``None`` if there is none.

    Args:
        path: see :func:`read_run_yaml`.
        key: ``hydra.runtime.choices.world``.
    """
    node = read_run_yaml(path)
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node
