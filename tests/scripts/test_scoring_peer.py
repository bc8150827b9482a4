"""scripts/benchmarks/scoring_peer.py: images that are worth scoring, and a table; without the peer."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from opsnet.data.panoptic_png import read_ids
from opsnet.evaluation.score import score
from scripts.benchmarks import scoring_peer


def test_images_have_twenty_ragged_segments_of_which_some_match(tmp_path: Path) -> None:
    scoring_peer.draw_all(tmp_path, 3)
    truth = json.loads((tmp_path / "gt.json").read_text())
    assert [len(a["segments_info"]) for a in truth["annotations"]] == [20] * 3
    ids = read_ids(tmp_path / "gt" / "000000000001.png")
    assert ids.shape == (480, 640)
    assert (ids[:, 1:] != ids[:, :-1]).sum() > 2000  # straight borders would have 1,920
    assert 20 < score(tmp_path / "gt.json", tmp_path / "pred.json").result.all.pq < 90


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    scoring_peer.main(["--images", "2", "--rounds", "1"])
    header, line = capsys.readouterr().out.splitlines()
    assert re.fullmatch("2 images, pixels counted by (C|numpy), 1 rounds after one that is not counted", header)
    assert re.fullmatch(r"opsnet-score wall \d\.\d\d to \d\.\d\d s, CPU .* s, first process \d+\.\d MB", line)


def test_a_scorer_that_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="failed with exit code 1"):
        scoring_peer.run("raise SystemExit(1)", tmp_path, None)
