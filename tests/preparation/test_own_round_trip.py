"""What `opsnet-prepare own` writes: the doctor finds no error, it scores 100 against itself, and it is trained on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from own_exports import cvat_tree, studio_tree, voc_tree, yolo_tree
from own_sets import Prepare, coco_tree, labelme_tree, masks_tree
from small_training import SMALL

from opsnet.commands import doctor, score, train

YOLO = Path(__file__).resolve().parents[3] / "shared" / "data" / "photos" / "coco128_seg"
TREES: dict[str, Callable[[Path], list[object]]] = {
    "coco": coco_tree,
    "cvat": cvat_tree,
    "label_studio": studio_tree,
    "labelme": labelme_tree,
    "masks": masks_tree,
    "voc": voc_tree,
    "yolo": yolo_tree,
}


@pytest.mark.parametrize("kind", TREES)
def test_a_prepared_set_is_sound_and_scores_100(kind: str, tmp_path: Path, prepare: Prepare, command, capsys) -> None:
    prepare(*TREES[kind](tmp_path / "tree"), "--dst", tmp_path / "data" / "own")
    given = ["data=own", f"paths.data={tmp_path / 'data'}", "data.module.val=null", "data.module.test=null"]
    code, error = command(doctor.main, *given, f"output={tmp_path / 'report'}")
    assert code == 0, error
    annotations = str(tmp_path / "data" / "own" / "panoptic_train.json")
    score.main(["--gt", annotations, "--pred", annotations, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["PQ"] == 100


@pytest.mark.skipif(not YOLO.is_dir(), reason=f"real photographs are not at {YOLO}")
def test_four_steps_of_training_on_real_photographs(tmp_path: Path, world, prepare: Prepare, command) -> None:
    """Eight photographs of coco128_seg: the whole way from YOLO's text files to a validated network."""
    for number, path in enumerate(sorted((YOLO / "images" / "train2017").iterdir())[:8]):
        name = "train" if number < 4 else "val"
        for kind, source in (("images", path), ("labels", YOLO / "labels" / "train2017" / f"{path.stem}.txt")):
            (tmp_path / "yolo" / kind / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(source, tmp_path / "yolo" / kind / name)
    for name in ("train", "val"):
        arguments = ["yolo", tmp_path / "yolo", "--vocabulary", "coco", "--dst", tmp_path / "own"]
        prepare(*arguments, "--set", name)
    where = [f"data.root={tmp_path / 'own'}", f"paths.data={world.data}", f"hydra.run.dir={tmp_path / 'run'}"]
    code, error = command(
        train.main, "experiment=scenes", "data=own", *where, *SMALL, "logger=csv",
        "data.shortest=128", "data.longest=128", "+data.module.train.transform.size=128", "data.module.batch_size=2",
        "data.module.num_workers=0",
    )  # fmt: skip
    assert code == 0, error
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert 0 <= results["metrics"]["val/PQ"] <= 100
