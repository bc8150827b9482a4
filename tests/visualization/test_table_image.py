"""A table as an image."""

from __future__ import annotations

from table_runs import write_two_tables

from opsnet.paper.comparison import compare
from opsnet.paper.runs import Runs
from opsnet.paper.tables import paper_table
from opsnet.paper.worlds import load_world
from opsnet.visualization.table_image import draw_table

REAL = load_world("real")


def test_a_table_is_drawn(tmp_path) -> None:
    runs = Runs(write_two_tables(tmp_path / "runs"))
    from matplotlib.image import imread

    out = draw_table(paper_table(compare(2, runs, REAL), REAL), tmp_path / "t.png")
    pixels = imread(out)
    assert pixels.shape[1] > pixels.shape[0] > 200
    assert (pixels[..., :3] < 0.5).any(-1).mean() > 0.01  # text, not an empty sheet
