"""The report of a run: what its markdown says and links, and what the terminal shows."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from opsnet.metrics.results import Results, ResultsError
from opsnet.miniature.report import print_report, write_report


def test_report_of_a_full_run(tmp_path, write_run):
    run = write_run(tmp_path / "run", seed=5)
    (run / "opsnet").mkdir()
    (run / "opsnet" / "metrics.csv").write_text("step,train/loss\n0,9\n10,6\n")
    (run / "panels").mkdir()
    (run / "panels" / "scenes novel.png").write_bytes(b"")
    report = write_report(run, title="A miniature")
    text = report.read_text(encoding="utf-8")
    assert report == run / "report.md"
    assert text.startswith("# A miniature\n")
    assert "Rankings: 21 reproduced, 0 NOT reproduced, 0 not run." in text
    assert "| 7 OPSNet | 68.0 | 47.0 | 45.0 | 46.0 | 52.4 | 17.7 |" in text
    assert "| scenes_street | 0.750 | 2.50 |" in text
    assert "| train | 330.2 | 330.2 |" in text
    assert "| torch | 2.15.0 |" in text
    assert "make run SEED=5" in text
    links = re.findall(r"!\[[^]]*\]\(([^)]*)\)", text)
    assert links == ["learning_curves.png", "alpha_beta.png", "panels/scenes%20novel.png"]
    assert all((run / link.replace("%20", " ")).is_file() for link in links)


def test_a_ranking_that_fails_is_said_to(tmp_path, write_run, change):
    run = write_run(tmp_path, main=change("query_only/cls", (60, 36, 35.4)))
    assert "NOT reproduced |" not in write_report(run, title="T").read_text()
    run = write_run(tmp_path, main=change("clip_only/cls_iou", (66, 39, 37)))
    text = write_report(run, title="T").read_text()
    assert "| 68.00 against 66.00 | +2.00 | >= 5 | NOT reproduced |" in text


def test_report_of_a_run_with_nothing_but_its_seed(tmp_path, write_run):
    run = write_run(tmp_path, main=Results("scenes", 0, {}), with_baseline=False)
    text = write_report(run, title="T").read_text()
    assert "Rankings: 0 reproduced, 0 NOT reproduced, 27 not run." in text
    assert "| 7 OPSNet | not run | not run | not run | not run | 52.4 | 17.7 |" in text
    assert "![" not in text


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(ResultsError, match=r"results\.json does not exist"):
        write_report(tmp_path, title="T")


def test_print_report(tmp_path, write_run):
    console = Console(file=io.StringIO(), width=80)
    print_report(write_run(tmp_path), console)
    text = console.file.getvalue()
    for number in "134567":
        assert f"Table {number}." in text
    assert "Rankings: 21 reproduced, 0 NOT reproduced, 0 not run." in text
    assert "…" not in text
