"""What the rankings measure, on figures worked out by hand."""

from __future__ import annotations

import pytest

from opsnet.metrics.results import IN_DOMAIN, OUT_OF_DOMAIN
from opsnet.miniature import measures

ONLY_IN_DOMAIN = (IN_DOMAIN,)


def test_difference_in_domain_and_out_of_domain(main):
    assert measures.difference(ONLY_IN_DOMAIN, "query_only", "clip_only")(main, None).value == 13
    unseen = measures.difference(OUT_OF_DOMAIN, "full", "query_only")(main, None)
    assert (unseen.value, unseen.detail) == (10, "46.00 against 36.00")


def test_difference_of_two_filters(main):
    gain = measures.difference(OUT_OF_DOMAIN, "clip_only", "clip_only", ("cls_iou", "cls"))
    assert gain(main, None).value == 4


def test_cross_attention_compares_the_two_models(main, baseline):
    assert measures.cross_attention(OUT_OF_DOMAIN, "full")(main, baseline).value == 1
    assert measures.cross_attention(ONLY_IN_DOMAIN, "query_only")(main, baseline).value == 0.5
    assert measures.cross_attention(OUT_OF_DOMAIN, "full")(main, None) is None


def test_identical_in_domain_is_the_largest_difference_of_the_five_measures(main, made):
    assert measures.identical_in_domain(main, None).value == 0
    other = made.results({**main.metrics, "scenes/full/cls_iou/SQ": 88.25, "scenes/full/cls_iou/RQ": 77.9})
    assert measures.identical_in_domain(other, None).value == 0.25
    without = made.results({k: v for k, v in main.metrics.items() if k != "scenes/full/cls_iou/RQ"})
    assert measures.identical_in_domain(without, None) is None


def test_pooling_is_measured_against_the_better_of_both_crops(main, change):
    assert measures.pooling_over_crops(OUT_OF_DOMAIN)(main, None).value == 38 - 20
    assert measures.pooling_over_crops(OUT_OF_DOMAIN)(change("masking/cls_iou", (0, 30, 30)), None).value == 38 - 30


def test_smallest_fall_of_the_fixed_ensembles(main, change):
    assert measures.smallest_fall(main, None).value == 1
    rising = change("ensemble_3/cls_iou", (65.5, 44, 42))
    assert measures.smallest_fall(rising, None).value == -0.5


def test_behind_best_setting_names_the_best(main, change):
    assert measures.behind_best_setting(OUT_OF_DOMAIN)(main, None).value == 0
    better = measures.behind_best_setting(OUT_OF_DOMAIN)(change("ensemble_2/cls_iou", (65, 49, 48)), None)
    assert (better.value, better.detail) == (2.5, "46.00; best 48.50, ensemble_2")


def test_interior_lead(main):
    # Best interior cell 46.25 at (10, 0.25); best border cell 45 at (10, 0), (15, 0.25) or (15, 0.5).
    lead = measures.interior_lead(main, None)
    assert (lead.value, lead.detail) == (1.25, "best 46.25 at (10, 0.25)")


@pytest.mark.parametrize("row", [{15: (44, 47, 45, 44, 42)}, {10: (47, 46.25, 46, 44, 42)}])
def test_interior_lead_is_negative_when_the_best_cell_is_last_in_alpha_or_first_in_beta(main, made, row):
    border = made.results({**main.metrics, **made.grid_metrics(row)})
    assert measures.interior_lead(border, None).value == -0.75


def test_a_grid_with_a_hole_or_without_an_interior_is_not_judged(main, made):
    hole = {k: v for k, v in main.metrics.items() if "alpha=5,beta=1/" not in k}
    assert measures.interior_lead(made.results(hole), None) is None
    assert measures.behind_best_cell(made.results(hole), None) is None
    two_rows = made.grid_metrics({a: made.grid[a] for a in (5, 10)})
    assert measures.interior_lead(made.results(two_rows), None) is None


def test_behind_best_cell(main):
    assert measures.behind_best_cell(main, None).value == 0.25


def test_product_over_factors_is_the_least_over_three_recognitions(main, change):
    # Abroad: Query 36 - 35.7, CLIP 38 - 37, full 46 - 44.5.
    assert measures.product_over_factors(OUT_OF_DOMAIN)(main, None).value == pytest.approx(0.3)
    worse = change("full/iou", (66, 48, 47))
    assert measures.product_over_factors(OUT_OF_DOMAIN)(worse, None).value == pytest.approx(-1.5)


@pytest.mark.parametrize(
    ("missing", "measure"),
    [
        ("query_only/cls", measures.product_over_factors(OUT_OF_DOMAIN)),
        ("clip_only/iou", measures.product_over_factors(OUT_OF_DOMAIN)),
        ("full/cls_iou", measures.product_over_factors(OUT_OF_DOMAIN)),
        ("full/cls_iou", measures.identical_in_domain),
        ("cropping/cls_iou", measures.pooling_over_crops(OUT_OF_DOMAIN)),
        ("masking/cls_iou", measures.pooling_over_crops(OUT_OF_DOMAIN)),
        ("clip_only/cls_iou", measures.pooling_over_crops(OUT_OF_DOMAIN)),
        ("fusion_only/cls_iou", measures.behind_best_setting(OUT_OF_DOMAIN)),
        ("ensemble_4/cls_iou", measures.behind_best_setting(OUT_OF_DOMAIN)),
        ("ensemble_4/cls_iou", measures.smallest_fall),
        ("query_only/cls_iou", measures.difference(OUT_OF_DOMAIN, "full", "query_only")),
    ],
)
def test_a_missing_figure_makes_its_measure_silent(made, missing, measure):
    complete = made.results(made.metrics(made.main))
    without = made.results(made.metrics({name: v for name, v in made.main.items() if name != missing}))
    assert measure(complete, None) is not None
    assert measure(without, None) is None
