"""opsnet-score with several processes: the figures of one, one sentence for an error, and no process left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from opsnet.data.panoptic_png import write_ids
from opsnet.evaluation.score import score

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="one process elsewhere")

IMAGES = 40
PROGRAM = """
import os, sys
from opsnet.commands.score import main
from opsnet.data import panoptic_index
from opsnet.evaluation import score as module
module.LEAST_PER_PROCESS = 5
panoptic_index.LARGE_JSON = 0
os.cpu_count = lambda: 3
first, kept = os.getpid(), module.score_pair
def noted(*pair, **options):
    with open("processes", "a") as file:
        print(os.getpid() == first, file=file)
    if "kill" in sys.argv and pair[0].image_id == 30:
        os.kill(os.getpid(), 9)
    if "change" in sys.argv and pair[0].image_id == 5:
        with open(sys.argv[2].partition("=")[2], "w") as file:
            file.write("{}")
    return kept(*pair, **options)
module.score_pair = noted
main(sys.argv[1:4])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    categories = [{"id": i, "name": f"class {i}", "isthing": i % 2} for i in range(1, 6)]
    for side in ("gt", "pred"):
        annotations = []
        for image in range(IMAGES):
            ids = np.kron(rng.permutation(6).reshape(2, 3), np.ones((4, 5), np.int64))
            ids[:, :8] = np.kron(np.arange(1, 3)[:, None], np.ones((4, 8), np.int64))
            write_ids(tmp_path / side / f"{image}.png", ids)
            segments = [{"id": int(i), "category_id": 1 + int(i + image) % 5} for i in np.unique(ids) if i]
            annotations.append({"image_id": image, "file_name": f"{image}.png", "segments_info": segments})
        (tmp_path / f"{side}.json").write_text(json.dumps({"categories": categories, "annotations": annotations}))
    return tmp_path


def run(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    words = [f"gt={folder / 'gt.json'}", f"pred={folder / 'pred.json'}", "--json", *more]
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_figures_are_those_of_one_process(folder: Path) -> None:
    done = run(folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == score(folder / "gt.json", folder / "pred.json").as_dict()
    assert 0 < json.loads(done.stdout)["PQ"] < 100
    in_first = (folder / "processes").read_text().split()
    assert (in_first.count("True"), in_first.count("False")) == (16, 24)  # ten chunks of four images, three processes


def test_an_error_in_a_process_is_one_sentence(folder: Path) -> None:
    write_ids(folder / "pred" / "7.png", np.full((8, 15), 99))
    done = run(folder)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: segment 99 of image 7 is in ")


def test_a_killed_process_is_one_sentence(folder: Path) -> None:
    done = run(folder, "kill")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: a worker process was killed")


def test_a_json_that_is_changed_while_it_is_scored_is_one_sentence(folder: Path) -> None:
    done = run(folder, "change")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == f"error: {folder / 'pred.json'} was changed while it was read: run the same command again"


def test_a_killed_command_leaves_no_process(folder: Path) -> None:
    os.mkfifo(folder / "wait")
    (folder / "pred" / "3.png").unlink()
    os.symlink(folder / "wait", folder / "pred" / "3.png")  # whoever opens it waits for a writer
    words = [f"gt={folder / 'gt.json'}", f"pred={folder / 'pred.json'}", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words], cwd=folder, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while not (folder / "processes").exists():
        assert process.poll() is None
    process.kill()
    process.wait()
    assert process.stderr.read() == ""  # it ends when the last process that has it is gone
