"""Silences what libraries say to their own users: notices about QuickGELU, deprecations, advertisements."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIBRARIES = {
    "open_clip": logging.ERROR, "timm": logging.ERROR, "huggingface_hub": logging.ERROR, "httpx": logging.ERROR,
    "torch": logging.WARNING, "lightning": logging.WARNING, "lightning_fabric": logging.WARNING,
    "pytorch_lightning": logging.WARNING, "matplotlib": logging.WARNING, "gradio": logging.WARNING,
}  # fmt: skip
"""The level from which a library's messages are shown. This project's own are always shown."""


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Context in which no warning of a library is printed; this project warns through ``logging`` only.

    Python's option ``-W`` and ``PYTHONWARNINGS`` show them again.
    """
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        yield


def quiet_logs() -> None:
    """Drops the libraries' messages from the log that Hydra has set up."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(is_shown)


def is_shown(record: logging.LogRecord) -> bool:
    """Whether a message is for users; open_clip logs through the root logger, so the file decides there."""
    names = {record.name.partition(".")[0]} if record.name != "root" else set(Path(record.pathname).parts)
    return all(record.levelno >= LIBRARIES[name] for name in names & LIBRARIES.keys())
