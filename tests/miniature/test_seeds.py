"""Several seeds: values in the runs' order, mean, sample standard deviation, and in how many a ranking held."""

from __future__ import annotations

from dataclasses import replace

import pytest

from opsnet.metrics.results import Results
from opsnet.miniature.seeds import mean_and_sd, seed_metrics_table, seed_rankings_table, summarize


@pytest.fixture
def runs(made) -> list[tuple[Results, Results | None]]:
    """Three seeds in which full abroad is 46, 44 and 40: 10, 8 and 4 above Query."""
    foreign = ((47, 45), (45, 43), (41, 39))
    mains = [
        made.results(made.metrics({**made.main, "full/cls_iou": (68, *f)}), seed) for seed, f in enumerate(foreign)
    ]
    return [(main, made.results(made.metrics(made.baseline))) for main in mains]


def test_mean_and_sample_sd():
    assert mean_and_sd([1.0, None, 3.0]) == (2.0, pytest.approx(2**0.5))
    assert mean_and_sd([5.0]) == (5.0, None)
    assert mean_and_sd([None]) == (None, None)


def test_summary_of_a_ranking(runs):
    summary = next(s for s in summarize(runs) if s.ranking.name == "Out-of-domain: full beats Query")
    assert summary.values == (10, 8, 4)
    assert summary.mean == pytest.approx(22 / 3)
    assert summary.sd == pytest.approx((28 / 3) ** 0.5)
    assert (summary.reproduced, summary.judged, summary.reproduced_in_each) == (2, 3, False)
    assert next(
        s for s in summarize(runs[:2]) if s.ranking.name == "Out-of-domain: full beats Query"
    ).reproduced_in_each


def test_a_run_without_figures_is_not_counted_as_held(runs):
    summary = summarize([runs[0], (Results("scenes", 9, {}), None)])[0]
    assert (summary.values, summary.reproduced, summary.judged, summary.reproduced_in_each) == ((13, None), 1, 1, False)


def test_rankings_table(runs):
    table = seed_rankings_table(runs)
    rows = {row[0]: row[1:] for row in table.rows}
    assert table.columns[2:5] == ("seed 0", "seed 1", "seed 2")
    assert rows["Out-of-domain: full beats Query"] == (">= 5", "+10.00", "+8.00", "+4.00", "+7.33", "3.06", "2 of 3")
    assert rows["Out-of-domain: the best (alpha, beta) is interior"][1:] == ("not run",) * 4 + ("-", "not run")
    assert rows["Out-of-domain: debiasing, full over fusion alone"][-1] == "reported"


def test_figures_table(runs):
    rows = {row[0]: row[1:] for row in seed_metrics_table(runs).rows}
    assert rows["OPSNet"] == (
        "68.0 ± 0.0",
        "44.3 ± 3.1",
        "42.3 ± 3.1",
        "43.3 ± 3.1",
        "68.0, 68.0, 68.0",
        "46.0, 44.0, 40.0",
    )
    assert rows["OPSNet without cross-attention"][3] == "45.0 ± 0.0"


def test_figures_of_fine_tuned_models_stand_below(runs, made):
    tuned = {"cls": made.results(made.metrics({"full/cls_iou": (60, 50, 40)}))}
    rows = {row[0]: row[1:] for row in seed_metrics_table([(replace(m, tuned=tuned), b) for m, b in runs]).rows}
    assert rows["Table 3: + Cls Sup"][3] == "45.0 ± 0.0"
    assert not any("distillation" in name for name in rows)


def test_figures_table_of_one_seed_has_no_sd(runs):
    rows = {row[0]: row[1:] for row in seed_metrics_table(runs[:1]).rows}
    assert rows["Query"][3] == "36.0"
