"""What fine-tunings learn and forget, as a table and a figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from scripts.published.forgetting_curve import main

METRICS = """epoch,step,train/loss,val/PQ,probe/coco/PQ
,9,3.0,,
0,9,,40.25,30.0
1,19,,45.0,
2,29,,50.0,12.34
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "low").mkdir()
    (tmp_path / "low" / "metrics.csv").write_text(METRICS)
    metrics = {"own/full/cls/PQ": 20.0, "own/full/cls/PQth": 1.0, "coco/full/cls/PQ": 50.0}
    (tmp_path / "results.json").write_text(json.dumps({"metrics": metrics}))
    return tmp_path


def test_the_points_are_those_with_a_probe_after_the_initial_one(run: Path, capsys) -> None:
    main([str(run / "low"), "--before", str(run / "results.json"), "--domain", "coco", "--out", str(run / "f.png")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:1] == ["| run | step | own | coco |"]
    assert lines[2:5] == ["| low | 0 | 20.0 | 50.0 |", "| low | 10 | 40.2 | 30.0 |", "| low | 30 | 50.0 | 12.3 |"]
    with Image.open(run / "f.png") as image:
        assert image.size[0] > 800


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["low", "--domain", "ade20k"], "has no probe/ade20k/PQ: train with probes"),
        (["none", "--domain", "coco"], "does not exist: give the folder"),
        (["low", "--domain", "coco", "--before", "none.json"], "none.json"),
        (["low", "--domain", "coco", "--own", "mine", "--before", "results.json"], "needs one PQ of mine"),
    ],
)
def test_what_is_missing_is_named(arguments, message, run: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(run)
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err
