"""Checks of what Python users pass; errors name the argument and the fix."""

from __future__ import annotations

import difflib
import functools
import inspect
import operator
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from opsnet.utils.errors import InputError

P = ParamSpec("P")
T = TypeVar("T")

_ELSEWHERE = {
    "masks": "masks of your own are named by predictor.label(image, masks, vocabulary)",
    "clip_model": "it is called clip here, and clip_model only in commands: give clip='rn50' or a file",
    "label_names_known": "it was renamed: give treat_label_names_as_seen",
    "threshold": "it is an option of the filter: give filtering='cls_iou,threshold=0.1'",
    "alpha": "it is an option of the recognizer: give modulation='alpha=5,beta=0.25'",
    "beta": "it is an option of the recognizer: give modulation='alpha=5,beta=0.25'",
    "overlap": "it belongs to the predictor: give Predictor(predictor.trained, overlap=0.8)",
    "shortest": "it belongs to the predictor: give Predictor(predictor.trained, shortest=800)",
    "longest": "it belongs to the predictor: give Predictor(predictor.trained, longest=1333)",
}


def known_arguments(function: Callable[P, T]) -> Callable[P, T]:
    """Decorates a function: unknown keyword arguments raise a TypeError that names the right one."""
    names = list(inspect.signature(function).parameters)
    known = [name for name in names if name != "self"]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        for key in kwargs:
            if key not in known:
                close = difflib.get_close_matches(key, known, 1)
                near = f"did you mean {close[0]}?" if close else f"its arguments are {', '.join(known)}"
                owner = f"{type(args[0]).__name__}." if names[:1] == ["self"] else ""  # which may be a subclass
                raise TypeError(f"{owner}{function.__name__}() has no argument {key}: {_ELSEWHERE.get(key, near)}")
        return function(*args, **kwargs)

    return checked


def whole(name: str, value: Any) -> int:
    """An argument that must be a whole number of at least 1.

    Raises:
        InputError: it is not.
    """
    try:
        number = operator.index(value)
    except TypeError as error:
        raise InputError(f"{name} must be a whole number of at least 1, got {value!r}") from error
    if isinstance(value, bool) or number < 1:
        raise InputError(f"{name} must be at least 1, got {value!r}")
    return number


def share(name: str, value: Any) -> float:
    """An argument that must lie in 0..1.

    Raises:
        InputError: it does not, or is not a number.
    """
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be a number in 0..1, got {value!r}") from error
    if not 0 <= number <= 1:  # nan too
        raise InputError(f"{name} must lie in 0..1, got {value!r}")
    return number


def folder(name: str, value: Any) -> Path:
    """An argument that must be a folder to write to; it need not exist.

    Raises:
        InputError: it is not a path, or a file.
    """
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise InputError(f"{name} must be the path of a folder, got {value!r}")
    path = Path(os.path.expanduser(value))
    if os.path.exists(path) and not os.path.isdir(path):
        raise InputError(f"{name} {path} is a file: give a folder")
    return path
