"""results.json: looked-up figures, means, the grid, and messages about files that are not one."""

from __future__ import annotations

import json
import math

import pytest

from opsnet.metrics.results import OUT_OF_DOMAIN, Results, ResultsError, grid, load_results, load_run, percent


def test_figure_is_looked_up_by_its_whole_name(main):
    assert main.metric("scenes_novel", "full") == 47
    assert main.metric("scenes_novel", "full", "cls") == 43
    assert main.metric("scenes_novel", "full", measure="PQst") == 45
    assert main.metric("scenes_novel", "no such") is None


def test_mean_needs_every_domain(main):
    assert main.mean(OUT_OF_DOMAIN, "full") == 46
    metrics = {k: v for k, v in main.metrics.items() if k != "scenes_street/full/cls_iou/PQ"}
    assert Results("scenes", 0, metrics).mean(OUT_OF_DOMAIN, "full") is None


def test_nan_counts_as_missing():
    results = Results("scenes", 0, {"scenes/full/cls_iou/PQ": math.nan})
    assert results.metric("scenes", "full") is None


def test_grid_is_the_mean_over_domains_of_cells_that_all_have():
    metrics = {
        "a/alpha=2.5,beta=0.25/cls_iou/PQ": 10.0,
        "b/alpha=2.5,beta=0.25/cls_iou/PQ": 30.0,
        "a/alpha=5,beta=1/cls_iou/PQ": 50.0,
        "a/alpha=2.5,beta=0.25/cls_iou/SQ": 99.0,
        "a/alpha=2.5,beta=0.25/cls/PQ": 99.0,
        "a/full/cls_iou/PQ": 99.0,
    }
    assert grid(metrics, ("a", "b")) == {(2.5, 0.25): 20.0}
    assert grid(metrics, ("a",)) == {(2.5, 0.25): 10.0, (5.0, 1.0): 50.0}
    assert grid(metrics, ("a", "b"), "iou") == {}


def test_load_run_reads_both_models(tmp_path, write_run):
    main, baseline = load_run(write_run(tmp_path, seed=7))
    assert (main.seed, main.mean(OUT_OF_DOMAIN, "full"), main.domain_similarity["scenes_novel"]) == (7, 46, 0.9)
    assert baseline is not None
    assert baseline.mean(OUT_OF_DOMAIN, "full") == 45


def test_load_run_without_the_baseline(tmp_path, write_run):
    assert load_run(write_run(tmp_path, with_baseline=False))[1] is None


def test_a_missing_file_says_what_to_give(tmp_path):
    with pytest.raises(ResultsError, match="folder of a finished `make run`"):
        load_results(tmp_path / "results.json")


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"experiment": "scenes", "seed": 0}), '{"metrics": 3}'])
def test_a_file_of_another_form_is_refused_by_name(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ResultsError, match=r"results\.json is not the results\.json of an evaluation"):
        load_results(path)


def test_percent():
    assert (percent(None), percent(46.04), percent(46.04, 2)) == ("not run", "46.0", "46.04")
