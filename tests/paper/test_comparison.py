"""The paper's figures beside ours, and the commands for what is missing."""

from __future__ import annotations

import pytest
from table_runs import write_evaluation, write_training

from opsnet.metrics.results import ResultsError
from opsnet.paper.comparison import compare, pairs_in_paper_order
from opsnet.paper.rows import table_rows
from opsnet.paper.runs import Runs
from opsnet.paper.worlds import load_world

REAL, SCENES = load_world("real"), load_world("scenes")


def by_row(table: int, runs: Runs, world) -> dict:
    return {c.row.row: c for c in compare(table, runs, world)}


def test_figures_and_their_difference(tmp_path) -> None:
    metrics = {"coco/full/cls_iou/PQ": 53.0, "ade20k/full/cls_iou/PQ": 17.5, "ade20k/full/cls_iou/PQth": float("nan")}
    write_evaluation(tmp_path / "a", metrics, experiment="opsnet_r50")
    found = by_row(1, Runs(tmp_path), REAL)[7]
    pq = found.metric("coco", "PQ")
    assert (pq.paper, pq.ours) == (52.4, 53.0)
    assert pq.difference == pytest.approx(0.6)
    assert found.metric("ade20k", "PQth").ours is None
    assert found.metric("ade20k", "PQth").difference is None
    assert found.metric("cityscapes", "PQ") is None
    assert found.commands  # PQth and others are missing


def test_another_world_has_no_difference(tmp_path) -> None:
    metrics = {"scenes/full/cls_iou/mIoU": 70.0}
    write_evaluation(tmp_path / "a", metrics, experiment="opsnet_r101")
    metric = by_row(8, Runs(tmp_path), SCENES)[5].metric("coco", "mIoU")
    assert (metric.domain, metric.ours, metric.difference) == ("scenes", 70.0, None)


def test_a_complete_row_needs_no_command(tmp_path) -> None:
    write_evaluation(tmp_path / "a", {"ade20k/alpha=5,beta=0.5/cls_iou/PQ": 16.0}, experiment="opsnet_r50")
    found = by_row(6, Runs(tmp_path), REAL)
    assert found[8].commands == ()
    assert found[8].run.folder == tmp_path / "a"
    assert found[7].run is None
    assert found[7].commands == (
        "opsnet-train experiment=opsnet_r50",
        "opsnet-evaluate table=6 row=7 world=real checkpoint=runs/opsnet_r50/DATE/checkpoints/last.ckpt",
    )


def test_commands_start_from_what_is_trained_already(tmp_path) -> None:
    trained = write_training(tmp_path / "t", experiment="opsnet_swin_l", world="scenes")
    checkpoint = trained / "checkpoints" / "last.ckpt"
    runs = Runs(tmp_path)
    assert by_row(2, runs, SCENES)[7].commands == (
        f"opsnet-evaluate table=2 row=7 world=scenes checkpoint={checkpoint}",
    )
    fine_tuned = by_row(3, runs, SCENES)[4].commands
    assert fine_tuned[0] == f"opsnet-train experiment=opsnet_plus_swin_l world=scenes init_from={checkpoint}"
    from_nothing = by_row(3, runs, REAL)[2].commands
    assert [c.split()[1] for c in from_nothing] == [
        "experiment=opsnet_r50",
        "experiment=opsnet_plus_r50_cls",
        "table=3",
    ]


def test_published_weights_are_scored_by_a_script(tmp_path) -> None:
    assert by_row(9, Runs(tmp_path), REAL)[7].commands == (
        "python -m scripts.published.score_mask2former backbone=swin_l model.weights=PATH",
    )


def test_pairs_in_the_papers_order(tmp_path) -> None:
    # The paper: 22.7, 51.9, 51.4, then rows that were not run. Ours swaps the last two.
    ours = {"clip_only": 30.0, "query_only": 60.0, "ensemble_1": 61.0}
    metrics = {f"coco/{name}/cls_iou/PQ": pq for name, pq in ours.items()}
    write_evaluation(tmp_path / "a", metrics, experiment="opsnet_r50")
    comparisons = compare(4, Runs(tmp_path), REAL)
    assert pairs_in_paper_order(comparisons, "coco", "PQ") == (2, 3)
    assert pairs_in_paper_order(comparisons, "ade20k", "PQ") == (0, 0)


def test_rows_that_the_paper_ties_do_not_count(tmp_path) -> None:
    metrics = {f"coco/{name}/cls_iou/PQ": pq for name, pq in {"fusion_only": 1.0, "full": 2.0}.items()}
    write_evaluation(tmp_path / "a", metrics, experiment="opsnet_r50")
    assert pairs_in_paper_order(compare(4, Runs(tmp_path), REAL), "coco", "PQ") == (0, 0)


def test_a_row_of_ours_has_the_columns_of_its_table_and_nothing_to_differ_from(tmp_path) -> None:
    measured = {"masking": 5.0, "cropping": 6.0, "clip_only": 8.0, "masked_attention": 1.0}
    metrics = {f"ade20k/{name}/cls_iou/PQ": pq for name, pq in measured.items()}
    write_evaluation(tmp_path / "a", metrics, experiment="opsnet_r50")
    comparisons = compare(5, Runs(tmp_path), REAL)
    metric = comparisons[3].metric("ade20k", "PQ")
    assert (metric.paper, metric.ours, metric.difference) == (None, 1.0, None)
    assert comparisons[3].metric("coco", "PQ").ours is None
    assert comparisons[3].commands  # COCO is missing
    assert pairs_in_paper_order(comparisons, "ade20k", "PQ") == (3, 3)  # of the paper's rows alone


def test_every_row_of_every_table_is_there(tmp_path) -> None:
    for table in range(1, 10):
        assert [c.row for c in compare(table, Runs(tmp_path), SCENES)] == list(table_rows(table))


def _hashes(**changes: str) -> dict:
    coco = {"annotations": "1", "images": "2", "vocabulary": "3", "transform": "4", **changes}
    return {"domains": {"coco": coco, "cityscapes": {"annotations": str(changes)}}}  # not in the table


@pytest.mark.parametrize("key", ["annotations", "images", "vocabulary"])
def test_rows_of_different_data_are_not_compared(key: str, tmp_path) -> None:
    write_evaluation(tmp_path / "a", {"coco/full/cls_iou/mIoU": 50}, experiment="opsnet_plus_r101", made_from=_hashes())
    write_evaluation(
        tmp_path / "b", {"coco/full/cls_iou/mIoU": 50}, experiment="opsnet_r101", made_from=_hashes(transform="5")
    )
    compare(8, Runs(tmp_path), REAL)  # another image size is another setting, not other data
    (tmp_path / "b" / "results.json").unlink()
    write_evaluation(
        tmp_path / "c", {"coco/full/cls_iou/mIoU": 50}, experiment="opsnet_r101", made_from=_hashes(**{key: "9"})
    )
    with pytest.raises(ResultsError, match=rf"[ac] and .*[ac] were evaluated on different {key} of 'coco'"):
        compare(8, Runs(tmp_path), REAL)
