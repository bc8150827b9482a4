"""The three sentences of a run."""

from __future__ import annotations

from opsnet.metrics.results import Results, load_run
from opsnet.miniature.rankings import check
from opsnet.miniature.summary import summarize


def sentences(run) -> list[str]:
    main, baseline = load_run(run)
    return summarize(main, check(main, baseline))


def test_three_sentences_of_a_full_run(tmp_path, write_run):
    known, unseen, rankings = sentences(write_run(tmp_path / "run", seed=5))
    assert known.startswith("On images like those of the training, OPSNet reaches PQ 68.0;")
    assert "it reaches PQ 46.0, more than either" in unseen
    assert rankings == "Of the paper's 21 rankings that this run can judge, 21 were reproduced."


def test_what_was_not_reproduced_is_named(tmp_path, write_run, change):
    found = sentences(write_run(tmp_path, main=change("clip_only/cls_iou", (66, 60, 60))))
    assert "not more than the better one" in found[1]
    assert "CLIP alone 60.0." in found[1]
    assert "; not reproduced: " in found[2]


def test_missing_metrics_leave_their_sentence_out(tmp_path, write_run):
    run = write_run(tmp_path, main=Results("scenes", 0, {}), with_baseline=False)
    assert sentences(run) == ["None of the paper's rankings could be judged, because this run lacks their metrics."]
