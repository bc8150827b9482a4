"""scripts/paper/figure4.py and its histograms."""

from __future__ import annotations

import numpy as np
import pytest

from opsnet.paper.figure4 import pairwise_cosines
from scripts.paper import figure4


def test_cosines_of_all_pairs() -> None:
    rows = np.array([[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0]])
    assert sorted(pairwise_cosines(rows).tolist()) == pytest.approx([-1, 0, 0])


def test_the_figure_of_the_miniature(world, tmp_path, capsys) -> None:
    out = tmp_path / "figure4.png"
    figure4.main(["--world", "scenes", "--out", str(out), f"paths.data={world.data}"])
    assert out.read_bytes()[:4] == b"\x89PNG"
    assert str(out) in capsys.readouterr().out


def test_an_unknown_dataset_gives_a_short_error(capsys) -> None:
    with pytest.raises(SystemExit):
        figure4.main(["--prototypes", "mars=a.pkl"])
    assert "give SET=WEIGHTS, SET being one of coco, ade20k" in capsys.readouterr().err
