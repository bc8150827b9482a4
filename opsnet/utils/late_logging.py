"""Warnings of modules that rarely warn: importing logging takes as long as scoring three images."""

from __future__ import annotations


def warn(name: str, text: str, *values: object) -> None:
    """Logs a warning.

    Args:
        name: of the module.
        text: with a % for each of the values.
        values: as for ``logging.Logger.warning``.
    """
    import logging

    logging.getLogger(name).warning(text, *values, stacklevel=2)
