"""Tables in the terminal: every metric with its rule."""

from __future__ import annotations

import io

from rich.console import Console

from opsnet.evaluation.printing import print_comparison, print_metrics, print_rows, print_speed
from opsnet.metrics.confusions import Confusion
from opsnet.paper.rows import table_row

METRICS = {
    **{f"scenes/full/cls/{m}": 50.0 + i for i, m in enumerate(("PQ", "PQth", "PQst", "SQ", "RQ", "mIoU"))},
    **{f"scenes/full/cls/{m}": 30.0 + i for i, m in enumerate(("AP", "AP50", "AP75"))},
    **{f"scenes/full/cls/oracle/names/{m}": 70.0 + i for i, m in enumerate(("PQ", "PQth", "PQst", "SQ", "RQ"))},
    "scenes/full/cls_iou/PQ": 60.0,
}


def printed(metrics=METRICS, misses=None) -> str:
    console = Console(file=io.StringIO(), width=160)
    print_metrics(metrics, misses or {}, console)
    return console.file.getvalue()


def cells(text: str, first: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.strip("│ \n").split("│")] for line in text.splitlines() if "│" in line]
    return [row for row in rows if row[0] == first]


def test_metrics_instances_and_oracles_have_separate_tables() -> None:
    text = printed()
    first, *ap, plain, oracle = cells(text, "scenes/full/cls")
    assert first[1:] == ["50.0", "51.0", "52.0", "53.0", "54.0", "55.0"]
    assert ap == [["scenes/full/cls", "30.0", "31.0", "32.0", *["nan"] * 3]]
    assert plain[1:] == ["none", "50.0", "51.0", "52.0", "53.0", "54.0"]
    assert oracle[1:] == ["names", "70.0", "71.0", "72.0", "73.0", "74.0"]
    assert cells(text, "scenes/full/cls_iou") == [["scenes/full/cls_iou", "60.0", *["nan"] * 5]]
    for words in ("ground-truth void is ignored", "COCOeval", "if one step before the merge were perfect"):
        assert words in " ".join(text.split())


def test_what_was_made_from_proposals_stands_beside_what_was_not() -> None:
    pixels = {"mIoU": 40.0, "mIoU_occurring": 39.0, "mIoU_proposals": 45.0, "mIoU_occurring_proposals": 44.0}
    more = {"AP_proposals": 35.0, "AP50_proposals": 36.0, "AP75_proposals": 37.0}
    text = printed({**METRICS, **{f"scenes/full/cls/{m}": value for m, value in {**pixels, **more}.items()}})
    rows = cells(text, "scenes/full/cls")
    assert ["scenes/full/cls", "40.0", "39.0", "45.0", "44.0"] in rows
    assert ["scenes/full/cls", "30.0", "31.0", "32.0", "35.0", "36.0", "37.0"] in rows
    flat = " ".join(text.split())
    for words in ("which Mask2Former and FC-CLIP report", "whatever the filter", "(panopticapi): a class that is only"):
        assert words in flat


def test_boundaries_and_ground_truth_masks_have_tables_with_their_rules() -> None:
    more = {f"B{m}": 20.0 for m in ("PQ", "PQth", "PQst", "SQ", "RQ")} | {"mBIoU": 21.0}
    more |= {"Acc1_masks": 61.0, "Acc5_masks": 62.0, "mAcc1_masks": 63.0, "mAcc5_masks": 64.0}
    more |= {"APr": 1.0, "APc": 2.0, "APf": 3.0}
    text = printed({**METRICS, **{f"scenes/full/cls/{m}": value for m, value in more.items()}})
    rows = cells(text, "scenes/full/cls")
    assert ["scenes/full/cls", *["20.0"] * 5, "21.0"] in rows
    assert ["scenes/full/cls", "61.0", "62.0", "63.0", "64.0"] in rows
    assert ["scenes/full/cls", "1.0", "2.0", "3.0", *["nan"] * 3] in rows
    flat = " ".join(text.split())
    for words in ("min(IoU, Boundary IoU) in place of IoU", "pooled in place of the network's own", "300 detections"):
        assert words in flat


def test_speed_and_parameters_are_printed_where_a_network_ran() -> None:
    console = Console(file=io.StringIO(), width=160)
    parameters = {"total": 44_036_512, "trainable": 20_500_000, "text_encoder": 38_000_000}
    speed = {"coco": {"network": 12.346, "whole": 3.5, "images": 4996}, "ade20k": {"network": 1.0, "images": 0}}
    print_speed(speed, parameters, console)
    text = console.file.getvalue()
    assert "44.04M total, 20.50M trainable" in " ".join(text.split())
    assert cells(text, "coco") == [["coco", "12.35", "3.50", "4996"]]
    assert cells(text, "ade20k") == [["ade20k", "1.00", "-", "0"]]
    assert "without the first 3 batches" in " ".join(text.split())
    empty = Console(file=io.StringIO())
    print_speed({}, {}, empty)
    assert not empty.file.getvalue()


def test_details_that_were_not_computed_are_not_printed() -> None:
    text = printed({"scenes/full/cls/PQ": 1.0})
    assert not any(words in text for words in ("COCOeval", "oracle", "confusions"))


def test_confusions() -> None:
    text = printed(misses={"scenes/full/cls": [Confusion("cat", "dog", 3, 0.25)]})
    assert ["scenes/full/cls", "cat", "dog", "3", "25%"] in cells(text, "scenes/full/cls")


def test_a_comparison_has_a_table_per_domain_and_a_dash_where_nothing_is_measured() -> None:
    metrics = {
        f"{domain}/{name}/trained/{measure}": 10.0 * i + k
        for domain in ("scenes", "scenes_novel")
        for i, name in enumerate(("full", "clip_only"), start=1)
        for k, measure in enumerate(("PQ", "PQ_seen", "SQ", "mIoU"))
    }
    metrics |= {"scenes_novel/full/trained/PQ_unseen": 5.0, "scenes_novel/full/trained/mIoU_proposals": 7.0}
    metrics["scenes_novel/full/trained/oracle/names/PQ"] = 99.0
    console = Console(file=io.StringIO(), width=160)
    print_comparison(metrics, ["scenes", "scenes_novel"], console)
    text = console.file.getvalue()
    assert [line.strip() for line in text.splitlines() if "percent" in line] == [
        "scenes, percent", "scenes_novel, percent",
    ]  # fmt: skip
    assert cells(text, "full/trained") == [
        ["full/trained", "10.0", "11.0", "-", "13.0"], ["full/trained", "10.0", "11.0", "5.0", "13.0", "7.0"],
    ]  # fmt: skip
    assert cells(text, "clip_only/trained")[1] == ["clip_only/trained", "20.0", "21.0", "-", "23.0", "-"]
    assert "99.0" not in text
    assert "detectron2" in text  # the rule of mIoU


def test_rows_of_a_table() -> None:
    console = Console(file=io.StringIO(), width=160)
    row = table_row(4, 1)
    print_rows((row,), {f"scenes/{row.measured_as}/PQ": 12.34}, ["scenes"], console)
    assert cells(console.file.getvalue(), row.name) == [[row.name, row.title, "12.3"]]
    empty = Console(file=io.StringIO())
    print_rows((), {}, ["scenes"], empty)
    assert empty.file.getvalue() == ""
