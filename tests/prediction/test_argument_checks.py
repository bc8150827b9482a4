"""Checks of arguments: what passes, and which sentence refuses the rest."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from opsnet.prediction import arguments
from opsnet.utils.errors import InputError


def test_whole_numbers() -> None:
    assert arguments.whole("n", np.int64(3)) == 3
    for value in (2.0, "2", None):
        with pytest.raises(InputError, match=f"n must be a whole number of at least 1, got {value!r}"):
            arguments.whole("n", value)
    for value in (0, -1, True):
        with pytest.raises(InputError, match=f"n must be at least 1, got {value}"):
            arguments.whole("n", value)


def test_shares() -> None:
    assert [arguments.share("s", value) for value in (0, 1, np.float32(0.5))] == [0, 1, 0.5]
    for value in (-0.1, 1.1, float("nan"), float("inf")):
        with pytest.raises(InputError, match=rf"s must lie in 0\.\.1, got {value}"):
            arguments.share("s", value)
    with pytest.raises(InputError, match=r"s must be a number in 0\.\.1, got 'a'"):
        arguments.share("s", "a")


def test_folders(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert arguments.folder("f", "~/new") == tmp_path / "new"
    assert arguments.folder("f", tmp_path) == tmp_path
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"f .*/file is a file: give a folder"):
        arguments.folder("f", tmp_path / "file")
    for value in (None, "", 3):
        with pytest.raises(InputError, match=f"f must be the path of a folder, got {value!r}"):
            arguments.folder("f", value)


def test_unknown_arguments() -> None:
    @arguments.known_arguments
    def draw(image: int, *, colour: int = 1) -> int:
        """Draws."""
        return image + colour

    assert draw(1, colour=2) == 3
    assert (draw.__doc__, str(inspect.signature(draw))) == ("Draws.", "(image: 'int', *, colour: 'int' = 1) -> 'int'")
    with pytest.raises(TypeError, match=r"draw\(\) has no argument color: did you mean colour\?"):
        draw(1, color=2)
    with pytest.raises(TypeError, match=r"has no argument zzz: its arguments are image, colour"):
        draw(1, zzz=2)
    with pytest.raises(TypeError, match="has no argument label_names_known: it was renamed"):
        draw(1, label_names_known=True)
