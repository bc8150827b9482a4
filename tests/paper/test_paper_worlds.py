"""Where tables are measured."""

from __future__ import annotations

import pytest

from opsnet.paper.rows import all_rows
from opsnet.paper.worlds import load_world
from opsnet.utils.errors import InputError


def test_worlds() -> None:
    real, scenes = load_world("real"), load_world("scenes")
    assert real.is_real
    assert real.domain("ade20k") == "ade20k"
    assert not scenes.is_real
    assert scenes.domain("ade20k") == "scenes_novel"
    assert {dataset for row in all_rows() for dataset in row.paper} == set(scenes.stands_for)
    with pytest.raises(InputError, match="world 'mars': there are real, scenes"):
        load_world("mars")
