"""Figures beside the tables."""

from __future__ import annotations

from table_runs import write_two_tables

from opsnet.paper.comparison import compare
from opsnet.paper.runs import Runs
from opsnet.paper.table_figures import alpha_beta_pair, ensemble_ratios
from opsnet.paper.worlds import load_world

SCENES = load_world("scenes")
PNG = b"\x89PNG"


def test_figures_are_drawn_where_there_is_something_to_draw(tmp_path) -> None:
    runs = Runs(write_two_tables(tmp_path / "runs"))
    empty = Runs(tmp_path / "nowhere")
    for table, draw in ((4, ensemble_ratios), (6, alpha_beta_pair)):
        out = draw(compare(table, runs, SCENES), SCENES, tmp_path / f"{table}.png")
        assert out is not None
        assert out.read_bytes()[:4] == PNG
        assert draw(compare(table, empty, SCENES), SCENES, tmp_path / "none.png") is None
    assert not (tmp_path / "none.png").exists()
