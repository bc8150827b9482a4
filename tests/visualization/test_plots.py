"""Plots: PNG files with the right content where there is something to draw, nothing where there is not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from opsnet.metrics.results import OUT_OF_DOMAIN
from opsnet.visualization.plots import alpha_beta_heatmap, learning_curves, moving_average, read_curves

CSV = """epoch,learning_rate,step,train/dice,train/loss,val/PQ
,0.001,0,,,
0,,0,1.5,9.0,
0,,10,1.0,6.0,
0,,10,,,31.5
"""


@pytest.fixture
def metrics_csv(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(CSV)
    return path


def is_coloured(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (np.abs(pixels[..., :3].astype(int) - colour) < 8).all(-1)


def test_read_curves_keeps_the_rows_that_have_a_value(metrics_csv):
    curves = read_curves(metrics_csv)
    assert set(curves) == {"train/loss", "train/dice", "learning_rate", "val/PQ"}
    assert curves["train/loss"][0].tolist() == [0, 10]
    assert curves["train/loss"][1].tolist() == [9, 6]
    assert curves["val/PQ"][1].tolist() == [31.5]


def test_learning_curves_draw_each_run_in_its_colour(tmp_path, metrics_csv):
    out = tmp_path / "new" / "curves.png"
    other = tmp_path / "other.csv"
    other.write_text(CSV.replace("9.0", "8.0"))
    assert learning_curves({"one": metrics_csv, "two": other}, out) == out
    pixels = np.asarray(Image.open(out))
    assert is_coloured(pixels, (31, 95, 168)).sum() > 50
    assert is_coloured(pixels, (200, 81, 27)).sum() > 50
    assert [p.name for p in out.parent.iterdir()] == ["curves.png"]


def test_nothing_to_draw_writes_nothing(tmp_path):
    empty = tmp_path / "empty.csv"
    empty.write_text("step,epoch\n0,0\n")
    out = tmp_path / "curves.png"
    assert learning_curves({"empty": empty, "absent": tmp_path / "absent.csv"}, out) is None
    assert alpha_beta_heatmap({"scenes_novel/full/cls_iou/PQ": 40.0}, OUT_OF_DOMAIN, out) is None
    assert not out.exists()


def test_moving_average():
    assert moving_average(np.array([1.0, 3.0, 5.0, 7.0]), 2) == pytest.approx([2, 4, 6])


def test_heat_map_frames_the_best_cell(tmp_path, main):
    out = alpha_beta_heatmap(main.metrics, OUT_OF_DOMAIN, tmp_path / "grid.png")
    pixels = np.asarray(Image.open(out))
    best, paper = (is_coloured(pixels, c) for c in ((224, 48, 30), (255, 152, 0)))
    # The legend lies below the map: only its upper part tells where the frames are.
    half = slice(0, int(pixels.shape[0] * 0.8))
    best_column, paper_column = (np.nonzero(mask[half])[1].mean() for mask in (best, paper))
    # Best is (10, 0.25), one column left of (10, 0.5); five columns share less than the image's width.
    assert 0.1 < (paper_column - best_column) / pixels.shape[1] < 0.25


def test_heat_map_of_a_grid_with_holes_is_drawn(tmp_path):
    metrics = {f"a/alpha={a},beta={b}/cls_iou/PQ": 40.0 + a for a, b in ((0, 0), (5, 0), (5, 1))}
    assert alpha_beta_heatmap(metrics, ("a",), tmp_path / "grid.png").is_file()
