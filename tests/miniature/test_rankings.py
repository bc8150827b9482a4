"""Rankings: each one held on figures that hold, and not held when only its own figure is moved."""

from __future__ import annotations

import pytest

from opsnet.metrics.results import Results
from opsnet.miniature.rankings import RANKINGS, check, holds, rankings_table

JUDGED = [o.name for o in RANKINGS if o.relation]


def verdicts(main: Results, baseline: Results | None) -> dict[str, str]:
    return {o.ranking.name: o.verdict for o in check(main, baseline)}


def test_every_judged_ranking_holds_on_the_hand_made_run(main, baseline):
    found = verdicts(main, baseline)
    assert len(JUDGED) == 21
    assert [name for name, verdict in found.items() if verdict == "reproduced"] == JUDGED
    assert sorted(found.values()).count("reported") == 6


def test_nothing_is_judged_without_figures():
    assert set(verdicts(Results("scenes", 0, {}), None).values()) == {"not run"}


def test_only_cross_attention_needs_the_second_model(main):
    missing = [name for name, verdict in verdicts(main, None).items() if verdict == "not run"]
    assert missing == ["Out-of-domain: cross-attention helps full", "In-domain: cross-attention on Query"]


MOVED = [
    ("In-domain: Query beats CLIP", "clip_only/cls_iou", (63.1, 39, 37)),
    ("In-domain: full equals Query exactly", "query_only/cls_iou", (68.001, 36.5, 35.5)),
    ("Out-of-domain: full beats Query", "query_only/cls_iou", (68, 41.2, 41)),
    ("Out-of-domain: full beats CLIP", "clip_only/cls_iou", (55, 41.2, 41)),
    ("In-domain: Mask Filter lifts CLIP", "clip_only/cls", (52.1, 35, 33)),
    ("Out-of-domain: Mask Filter lifts CLIP", "clip_only/cls", (50, 35.1, 35)),
    ("In-domain: Mask Pooling beats cropping and masking", "masking/cls_iou", (50.1, 11, 9)),
    ("Out-of-domain: Mask Pooling beats cropping and masking", "cropping/cls_iou", (22, 33.2, 33)),
    ("In-domain: PQ of fixed ensembles falls with each CLIP added", "ensemble_2/cls_iou", (67, 45, 43)),
    ("In-domain: full is near the best setting", "ensemble_1/cls_iou", (69.6, 46, 44)),
    ("Out-of-domain: full is near the best setting", "ensemble_1/cls_iou", (67, 48, 47.2)),
    ("In-domain: filter Cls IoU is no worse than Cls and IoU", "full/iou", (68.6, 45, 44)),
    ("Out-of-domain: filter Cls IoU is no worse than Cls and IoU", "query_only/iou", (66, 36.7, 36.4)),
    ("Out-of-domain: cross-attention helps full", "full/cls_iou", (68, 46, 44)),
]


@pytest.mark.parametrize(("ranking", "figure", "values"), MOVED, ids=[m[0] for m in MOVED])
def test_a_ranking_fails_when_its_figure_moves(change, baseline, ranking, figure, values):
    assert verdicts(change(figure, values), baseline)[ranking] == "NOT reproduced"


TUNED_MOVED = [
    ("Out-of-domain: image labels help (+ Cls Sup over as many steps without)", "cls", (68.5, 48, 46.9)),
    ("Out-of-domain: the sum of masks helps (+ Mask Sup over + Cls Sup)", "cls_masksum", (67.5, 49, 46.9)),
    ("Out-of-domain: OPSNet+ over as many steps without labels", "control", (69, 49.1, 47)),
    ("In-domain: OPSNet+ costs little", "cls_masksum", (66.9, 50, 48)),
    ("In-domain: OPSNet+ with distillation costs less", "distilled", (67.9, 49.5, 47.5)),
]


@pytest.mark.parametrize(("ranking", "model", "values"), TUNED_MOVED, ids=[m[0] for m in TUNED_MOVED])
def test_a_ranking_of_table_3_fails_when_its_figure_moves(made, main, baseline, ranking, model, values):
    moved = made.results(main.metrics, tuned={**made.tuned, model: values})
    assert verdicts(main, baseline)[ranking] == "reproduced"
    assert verdicts(moved, baseline)[ranking] == "NOT reproduced"


def test_without_fine_tuned_models_table_3_is_not_run(made, main, baseline):
    found = verdicts(made.results(main.metrics, tuned={}), baseline)
    assert sum(verdict == "not run" for verdict in found.values()) == 7


@pytest.mark.parametrize(
    ("ranking", "row"),
    [
        ("Out-of-domain: the best (alpha, beta) is interior", {15: (44, 45, 46.5, 44, 42)}),
        ("Out-of-domain: (10, 0.5) is near the best (alpha, beta)", {5: (43, 47.1, 44, 43, 41)}),
    ],
)
def test_the_grids_rankings_fail_when_a_cell_moves(made, main, baseline, ranking, row):
    moved = made.results({**main.metrics, **made.grid_metrics(row)})
    assert verdicts(moved, baseline)[ranking] == "NOT reproduced"


def test_every_judged_ranking_is_shown_to_fail():
    grid_rankings = {
        "Out-of-domain: the best (alpha, beta) is interior",
        "Out-of-domain: (10, 0.5) is near the best (alpha, beta)",
    }
    assert {m[0] for m in (*MOVED, *TUNED_MOVED)} | grid_rankings == set(JUDGED)


@pytest.mark.parametrize(
    ("relation", "value", "threshold", "expected"),
    [
        (">=", 71.8 - 66.8, 5, True),  # 4.999999999999986... or 5: rounding must not decide
        (">=", 4.99, 5, False),
        (">", 0.0, 0, False),
        (">", 1e-15, 0, False),
        (">", 0.01, 0, True),
        ("<=", 1.5 + 1e-12, 1.5, True),
        ("<=", 1.51, 1.5, False),
        ("==", 0.0, 0, True),
        ("==", 1e-12, 0, False),
    ],
)
def test_holds(relation, value, threshold, expected):
    assert holds(relation, value, threshold) is expected


def test_the_table_shows_figures_need_and_verdict(change, baseline):
    table = rankings_table(check(change("query_only/cls_iou", (68, 44, 44)), None))
    row = next(r for r in table.rows if r[0] == "Out-of-domain: full beats Query")
    assert row[1:] == (
        "17.7 against 14.6 (Table 1, rows 6 and 7)",
        "46.00 against 44.00",
        "+2.00",
        ">= 5",
        "NOT reproduced",
    )
    missing = next(r for r in table.rows if r[0] == "Out-of-domain: cross-attention helps full")
    assert missing[2:] == ("not run", "not run", "> 0", "not run")


def test_the_brief_table_leaves_the_prose_out(main, baseline):
    table = rankings_table(check(main, baseline), brief=True)
    assert table.columns == ("Ranking", "Measured", "Needed", "Verdict")
    assert table.rows[0] == ("In-domain: Query beats CLIP", "+13.00", ">= 5", "reproduced")
