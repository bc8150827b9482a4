"""Plain values: what a stored configuration may consist of, wherever in it they are."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from opsnet.checkpoint.allowed_targets import ALLOWED_TARGETS, Key
from opsnet.utils.errors import CheckpointError

_DEPTH, _NODES = 32, 1_000_000  # a pickled list may contain itself, or another list many times
_LONGEST, _LARGEST = 10_000, 2**53  # letters of a text; a number beyond may not be exact, or too long to print
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def copy_plain(config: Any, name: str) -> Any:
    """A copy of plain values, in which only allowed keys contain class names.

    Mappings, lists, texts without ``${`` and control characters, finite numbers, booleans and null.

    Args:
        config: untrusted values.
        name: name of the checkpoint or folder, for messages.

    Raises:
        CheckpointError: a value is not plain; the message states the key and the value.
    """
    count = 0

    def copied(value: Any, key: Key) -> Any:
        nonlocal count
        count += 1
        if len(key) > _DEPTH or count > _NODES:
            raise CheckpointError(f"{name}: its configuration is nested too deep or too large at {dotted(key)[:100]}")
        if isinstance(value, Mapping):
            return {_plain_key(k, v, key, name): copied(v, (*key, str(k))) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [copied(v, (*key, str(i))) for i, v in enumerate(value)]
        if reason := _problem(value):
            refuse(name, key, value, reason)
        return value

    return copied(config, ())


def _problem(value: Any) -> str:
    """What is wrong with a value that is neither a mapping nor a list; empty if nothing."""
    if value is None or type(value) is bool:
        return ""
    if type(value) in (int, float):
        # Comparing first: the digits of a huge whole number cannot be printed, and math.isfinite cannot read it.
        return "" if -_LARGEST <= value <= _LARGEST and math.isfinite(value) else "it is not a number of usual size"
    if type(value) is not str:
        return f"a {type(value).__name__} is not a plain value"
    if "${" in value:
        return "nothing in a stored configuration is interpolated"
    if len(value) > _LONGEST:
        return f"a text has at most {_LONGEST:,} letters"
    return "a text has no control characters" if _UNPRINTABLE.search(value) else ""


def _plain_key(own: Any, value: Any, parent: Key, name: str) -> str:
    if type(own) is not str or "${" in own or len(own) > _LONGEST or _UNPRINTABLE.search(own):
        refuse(name, (*parent, str(own)), value, "keys must be plain strings")
    if own.startswith("_") and not (own in ("_target_", "_partial_", "_convert_") and parent in ALLOWED_TARGETS):
        refuse(name, (*parent, own), value, "nothing may be built there, or not in this way")
    return own


def dotted(key: Key) -> str:
    """``model.query_decoder._target_``."""
    return ".".join(key)


def refuse(name: str, key: Key, value: Any, reason: str) -> NoReturn:
    """Refuses a value, with a message that states key and value.

    Raises:
        CheckpointError: always.
    """
    raise CheckpointError(f"{name}: its configuration has {dotted(key)[:200]} = {_shown(value)}: {reason}")


def _shown(value: Any) -> str:
    """A value in at most 100 letters; a list that contains another many times would take any number of them."""
    if isinstance(value, (list, tuple, Mapping)) and not _is_small(value):
        return f"a {type(value).__name__} of {len(value)} values"
    try:
        text = repr(value[:100] if isinstance(value, (str, bytes)) else value)
    except ValueError:  # Python prints no whole number of more than 4,300 digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:97]}..."


def _is_small(value: Any, left: int = 4) -> bool:
    """Whether a value has few parts at few levels, so that it can be printed."""
    if not isinstance(value, (list, tuple, set, frozenset, Mapping)):
        return True
    parts = value.values() if isinstance(value, Mapping) else value
    return left > 0 and len(value) <= 20 and all(_is_small(part, left - 1) for part in parts)
