"""The command lines of the jobs in the synthetic world."""

from __future__ import annotations

import pytest

from opsnet.miniature import scenes
from scripts.miniature.jobs import COUNTS, draw_scenes


@pytest.mark.parametrize("shrunk", [False, True])
def test_the_module_that_draws_the_scenes_accepts_these_arguments(shrunk, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("OPSNET_DATA", str(tmp_path))
    line = draw_scenes(3, shrunk=shrunk)
    assert line[1:3] == ["-m", scenes.__name__]
    drawn: list[dict] = []
    monkeypatch.setattr("sys.argv", line[2:])
    monkeypatch.setattr(scenes, "write_world", lambda **given: drawn.append(given))
    scenes.main()
    (given,) = drawn
    assert given["root"] == (tmp_path / "smoke" if shrunk else tmp_path) / "scenes_3"
    assert given["seed"] == 3
    assert (given.items() >= COUNTS.items()) == shrunk
