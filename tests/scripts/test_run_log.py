"""The log of a run: times, names of processes, and a sign of life in a silent minute."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from scripts.miniature.run_log import RunLog


@pytest.fixture
def shown() -> list[str]:
    return []


def kept(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_every_line_has_the_time_and_is_shown_and_kept(tmp_path, shown):
    with RunLog(tmp_path / "new" / "log.txt", shown.append) as log:
        log.begin("training")
        log.say("step 1 of 2", "opsnet")
    assert kept(tmp_path / "new" / "log.txt") == shown
    assert re.fullmatch(r"\d\d:\d\d:\d\d --- training", shown[0])
    assert re.fullmatch(r"\d\d:\d\d:\d\d opsnet: step 1 of 2", shown[1])


def test_the_log_of_an_interrupted_run_is_continued(tmp_path, shown):
    for text in ("first", "second"):
        with RunLog(tmp_path / "log.txt", shown.append) as log:
            log.say(text)
    assert [line[9:] for line in kept(tmp_path / "log.txt")] == ["first", "second"]


def test_lines_of_hydra_lose_their_own_time_and_keep_a_warning(tmp_path, shown):
    with RunLog(tmp_path / "log.txt", shown.append) as log:
        log.say("[2026-11-26 02:46:47,942][opsnet.training.progress][INFO] - step 150 of 2000, loss 23.615")
        log.say("[2026-11-26 02:46:47,942][opsnet.data][WARNING] - image 3 is damaged")
    assert [line[9:] for line in shown] == ["step 150 of 2000, loss 23.615", "warning: image 3 is damaged"]


def test_metrics_as_json_are_kept_but_not_shown(tmp_path, shown):
    with RunLog(tmp_path / "log.txt", shown.append) as log:
        log.say('[2026-11-26 02:46:47,942][__main__][INFO] - {"train/loss": 9.8}')
    assert shown == []
    assert '{"train/loss": 9.8}' in kept(tmp_path / "log.txt")[0]


def test_what_is_printed_goes_to_the_log(tmp_path, shown):
    with RunLog(tmp_path / "log.txt", shown.append) as log, log.captured():
        print("[1/4] job 0 finished", flush=True)
    assert [line[9:] for line in shown] == ["[1/4] job 0 finished"]


def test_a_silent_phase_says_that_it_is_running(tmp_path, shown):
    with RunLog(tmp_path / "log.txt", shown.append, quiet=0.05) as log:
        log.begin("fine-tuning")
        until = time.monotonic() + 10
        while len(shown) < 3 and time.monotonic() < until:
            time.sleep(0.01)
    assert re.search(r"fine-tuning: still running, 0\.0 minutes so far", shown[1])
    assert len(shown) >= 3
