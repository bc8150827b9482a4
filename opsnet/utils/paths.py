"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path


def user_path(text: str | os.PathLike[str]) -> Path:
    """A path with ``~`` or ``~name`` replaced by that user's folder; unchanged if there is no such user.

    ``Path.expanduser`` raises a ``RuntimeError`` then, where the user needs to hear that the file does not exist.
    """
    try:
        return Path(os.path.expanduser(text))
    except ValueError:  # a name with a null byte
        return Path(text)
