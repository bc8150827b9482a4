"""opsnet-predict on a folder, then opsnet-score: the panoptic quality of opsnet-evaluate on the same set."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from documented import ROOT, blocks, run_documented

from opsnet.commands import predict as predict_command
from opsnet.commands import score as score_command
from opsnet.evaluation.run import evaluate
from opsnet.prediction.run import predict

FILTER = "trained/trained,threshold=0"


@pytest.fixture(scope="module")
def images(world) -> Path:
    return world.data / "scenes_0" / "scenes" / "test"


@pytest.fixture(scope="module")
def truth(images: Path, compose, lenient_checkpoint, tmp_path_factory) -> Path:
    """Ground truth with ids that are neither a count nor the numbers in the names.

    It is a prediction whose masks compete otherwise: the network is hardly trained, so that its PQ against the real
    ground truth would be 0 with any ids.
    """
    folder = tmp_path_factory.mktemp("truth")
    listed = [{"id": 900 - 7 * int(p.stem), "file_name": p.name} for p in images.glob("*.png")]
    (folder / "ids.json").write_text(json.dumps({"images": listed}))
    given = [f"checkpoint={lenient_checkpoint}", f"image={images}", "vocabulary=scenes", "filtering.threshold=0"]
    more = [f"ids_from={folder / 'ids.json'}", "filtering.compete=iou", "device=cpu", f"output={folder}"]
    predict(compose("predict", *given, *more))
    return folder / "panoptic.json"


def test_the_score_of_a_folders_prediction_is_the_evaluations(
    images: Path, world_overrides, compose, lenient_checkpoint, truth: Path, command, tmp_path: Path, capsys
) -> None:
    given = [f"checkpoint={lenient_checkpoint}", f"image={images}", "vocabulary=scenes", "filtering.threshold=0"]
    out = tmp_path / "found"
    assert command(predict_command.main, *given, f"ids_from={truth}", f"output={out}", "device=cpu")[0] == 0
    written, expected = (json.loads(path.read_text()) for path in (out / "panoptic.json", truth))
    assert written["images"] == expected["images"]
    assert {i["id"] for i in written["images"]} == {900 - 7 * i for i in range(8)}
    capsys.readouterr()
    score_command.main(["--gt", str(truth), "--pred", str(out / "panoptic.json"), "--json"])
    scored = json.loads(capsys.readouterr().out)
    settings = [
        f"checkpoint={lenient_checkpoint}", f"settings=['{FILTER}']", "panels=0", "details=false", "device=cpu",
        f"data.module.test.scenes.annotations={truth}", "~data.module.test.scenes_novel",
        "~data.module.test.scenes_street", f"output={tmp_path / 'evaluated'}",
    ]  # fmt: skip
    metrics = evaluate(compose("evaluate", *world_overrides, *settings)).metrics
    measures = ("PQ", "PQth", "PQst", "SQ", "RQ")
    assert {m: scored[m] for m in measures} == {m: metrics[f"scenes/{FILTER}/{m}"] for m in measures}
    assert 0 < scored["PQ"] < 100


def test_the_commands_of_the_page(
    images: Path, lenient_checkpoint, truth: Path, command, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = (text for text in blocks(ROOT / "docs" / "datasets.md") if "opsnet-score --gt" in text)
    for name, source in {
        "images": images, "last.ckpt": lenient_checkpoint, "gt.json": truth, "classes.json": truth,
        "gt": truth.with_suffix(""),
    }.items():  # fmt: skip
        (tmp_path / name).symlink_to(source)
    for line in block.splitlines():
        run_documented(shlex.split(line), command)
    assert "All" in capsys.readouterr().out


def test_without_the_ids_the_score_is_refused(images: Path, lenient_checkpoint, truth: Path, command, tmp_path) -> None:
    """The ids are the numbers in the file names, 0 to 7, which this ground truth does not have."""
    given = [f"checkpoint={lenient_checkpoint}", f"image={images}", "vocabulary=scenes", "device=cpu"]
    assert command(predict_command.main, *given, f"output={tmp_path / 'found'}")[0] == 0
    pred = str(tmp_path / "found" / "panoptic.json")
    code, error = command(lambda: score_command.main(["--gt", str(truth), "--pred", pred]))
    assert code == 2
    assert "ids_from=" in error
