"""The full-size trainings of README and docs, run as they are written, on photographs.

Each command trains two steps with a validation after each, is killed after the first, resumes, and its checkpoint is
evaluated. The tests change what a laptop lacks: weights (random ones), the number of GPUs, of images, and so of steps
and of images per step, and the crop of the training. They leave precision, clipping, optimizer, trainer, transforms
and the size of evaluation alone: what stops a reader's training has to stop here.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from documented import ROOT
from official_trees import imagenet_tree, save

from opsnet.data.coco_panoptic_writing import SegmentLabel, describe
from opsnet.data.panoptic_png import ids_to_rgb
from opsnet.vocabulary import Vocabulary

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "panoptic" / "panopticapi_sample"
WEIGHTS = ["backbone.pretrained=false", "clip.model.weights=rn50.pt", "clip.model.architecture.pretrained=null"]
SHRUNK = [
    "trainer.accelerator=cpu", "+data.module.train.transform.size=64", "data.module.batch_size=2",
    "data.module.num_workers=1", "optim.max_epochs=2",
]  # fmt: skip
ONE_IMAGE = ["+data.module.val.limit=1"]  # to validate and evaluate on
PLUS = [
    "data.module.labels.transform.size=64", "+data.module.labels.limit=4", "data.module.label_batch_size=2",
    "optim.max_epochs=-1", "optim.max_steps=2",
]  # fmt: skip
MACHINE = r"(\+?trainer\.(num_nodes|devices)|launcher(\.\w+)?|hydra\.run\.dir|resume|seed)="
FULL_SIZE = r"data=coco|experiment=opsnet_"


def documented_trainings() -> list[str]:
    """The full-size trainings of all pages and the jobs of sweeps, each once, without seeds and machines."""
    lines: list[str] = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"opsnet-train [^`\n#]*", text):
            words = [word for word in line.split() if not re.match(MACHINE, word)]
            if re.search(FULL_SIZE, line) and not {"...", "world=scenes"} & set(words):
                lines += jobs(words)
    return list(dict.fromkeys(lines))


def jobs(words: list[str]) -> list[str]:
    """The single trainings of a sweep, each of which is a process with a command of its own."""
    if "-m" not in words:
        return [" ".join(words)]
    values = [[f"{k}={v}" for v in value.split(",")] for k, _, value in (w.partition("=") for w in words[2:])]
    return [" ".join((words[0], *job)) for job in itertools.product(*values)]


class Reader:
    """Runs commands as somebody with a folder of data does."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ, "OPSNET_DATA": str(data), "OPSNET_RUNS": str(folder / "runs"), "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT), "WANDB_SILENT": "true",
        }  # fmt: skip

    def start(self, line: list[str], log: str) -> subprocess.Popen[bytes]:
        module = line[0].replace("-", ".", 1).replace("-", "_")
        with (self.folder / log).open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", module, *line[1:]], cwd=self.folder, env=self.environment, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def run(self, line: list[str], log: str) -> str:
        code = self.start(line, log).wait(timeout=1200)
        said = (self.folder / log).read_text(errors="replace")
        assert code == 0, said[-3000:]
        return said


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OPSNET_DATA with COCO as distributed and four labelled images of ImageNet-Val."""
    data = tmp_path_factory.mktemp("photographs")
    for split in ("train2017", "val2017"):
        (_copy_coco if PHOTOGRAPHS.is_dir() else _draw_coco)(data / "coco", split)
    return data


@pytest.fixture(scope="session")
def clip_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP RN50 of random weights in a file: an evaluation has to find the one that was trained with."""
    import open_clip

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("clip") / "rn50.pt"
    torch.save({"state_dict": open_clip.create_model("RN50-quickgelu", pretrained=None).state_dict()}, path)
    return path


@pytest.fixture
def reader(photographs: Path, clip_weights: Path, tmp_path: Path) -> Reader:
    (tmp_path / "rn50.pt").symlink_to(clip_weights)
    return Reader(photographs, tmp_path)


def _copy_coco(root: Path, split: str) -> None:
    shutil.copytree(PHOTOGRAPHS / "input_images", root / split)
    shutil.copytree(PHOTOGRAPHS / "panoptic_examples", root / "annotations" / f"panoptic_{split}")
    shutil.copy(PHOTOGRAPHS / "panoptic_examples.json", root / "annotations" / f"panoptic_{split}.json")


def _draw_coco(root: Path, split: str) -> None:
    """Two images of COCO's sizes, of noise, each with a wall of segments."""
    rng, classes = np.random.default_rng(0), Vocabulary.load("coco")
    images, annotations = [], []
    for number, (height, width) in enumerate(((427, 640), (640, 480)), start=1):
        ids = np.kron(1 + np.arange(20).reshape(4, 5), np.ones((height // 4, width // 5), np.int64))
        ids = np.pad(ids, ((0, height - ids.shape[0]), (0, width - ids.shape[1])))
        labels = [SegmentLabel(k, classes.ids[5 * k]) for k in range(1, 21)]
        save(root / split / f"{number:012d}.jpg", rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        save(root / "annotations" / f"panoptic_{split}" / f"{number:012d}.png", ids_to_rgb(ids))
        name = f"{number:012d}"
        images.append({"id": number, "file_name": f"{name}.jpg", "height": height, "width": width})
        annotations.append({"image_id": number, "file_name": f"{name}.png", "segments_info": describe(ids, labels)})
    content = {"images": images, "annotations": annotations, "categories": classes.categories()}
    (root / "annotations" / f"panoptic_{split}.json").write_text(json.dumps(content))


def kill_after_first_validation(process: subprocess.Popen[bytes], runs: Path, log: Path) -> Path:
    """Kills a training without warning once its first epoch is saved; its folder."""
    deadline = time.monotonic() + 1200
    while not (saved := list(runs.glob("*/*/checkpoints/last.ckpt"))):
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        assert time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return saved[0].parent.parent


def shrink(line: str) -> list[str]:
    """A documented command with what a laptop can do in its place."""
    words = [word for word in shlex.split(line) if not word.startswith(("init_from=", "data.module.labels", "+data"))]
    weights = [w for w in WEIGHTS if not ("opsnet_shared_" in line and w.startswith("backbone."))]  # CLIP's alone
    return [*words, *weights, *SHRUNK, *(["trainer.devices=1"] if "trainer=ddp" in words else [])]


def trains_resumes_and_is_evaluated(line: list[str], reader: Reader) -> Path:
    """Goes the whole way with one command; the checkpoint at its end."""
    folder = reader.folder
    line = [*line, *ONE_IMAGE]
    run = kill_after_first_validation(reader.start(line, "train.log"), folder / "runs", folder / "train.log")
    assert not (run / "results.json").exists()
    reader.run([*line, "resume=auto"], "resumed.log")
    (resumed,) = (folder / "runs").glob("*/*/results.json")
    assert "val/PQ" in json.loads(resumed.read_text())["metrics"]
    checkpoint = resumed.parent / "checkpoints" / "last.ckpt"
    assert torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"] == 2
    evaluate = ["opsnet-evaluate", f"checkpoint={checkpoint}", "data=coco", "settings=[full/cls_iou]", "panels=1"]
    evaluate += ONE_IMAGE
    reader.run([*evaluate, "hydra.run.dir=evaluated"], "evaluated.log")
    metrics = json.loads((folder / "evaluated" / "results.json").read_text())["metrics"]
    assert 0 <= metrics["coco/full/cls_iou/PQ"] <= 100
    return checkpoint


def trainings() -> list[Any]:
    """Those that start from nothing. The first is in every run of the tests; the others take minutes each."""
    lines = [line for line in documented_trainings() if "init_from" not in line]
    first = next(line for line in lines if "logger=wandb" in line)
    return [line if line == first else pytest.param(line, marks=pytest.mark.slow) for line in lines]


def test_every_page_is_read() -> None:
    lines = documented_trainings()
    assert any("logger=wandb" in line for line in lines)
    assert any("experiment=opsnet_plus_r50" in line for line in lines)
    assert {"opsnet_r50", "opsnet_r101", "opsnet_swin_l", "opsnet_plus_r50"} <= {
        name for line in lines for name in re.findall(r"experiment=(\w+)", line)
    }


@pytest.mark.parametrize("line", trainings())
def test_a_full_size_training_as_it_is_written(line: str, reader: Reader) -> None:
    trains_resumes_and_is_evaluated(shrink(line), reader)


@pytest.mark.slow
def test_opsnet_plus_from_a_trained_model_on_two_devices(reader: Reader, photographs: Path) -> None:
    first = next(line for line in documented_trainings() if "logger=wandb" in line)
    checkpoint = trains_resumes_and_is_evaluated(shrink(first), reader)
    imagenet_tree(photographs / "imagenet", class_folders=False)
    line = next(line for line in documented_trainings() if "experiment=opsnet_plus_r50" in line)
    plus = [*shrink(line), *PLUS, f"init_from={checkpoint}", "trainer=ddp", "trainer.devices=2"]
    assert "2 steps of 2 + 2 images (2 devices x 1 + 1)" in reader.run(plus, "plus.log")
