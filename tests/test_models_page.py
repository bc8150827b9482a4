"""Every command of docs/models.md runs literally, with small random networks in the published layouts."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documented import ROOT, blocks, run_documented
from mask2former_peer import OURS, SMALL, in_detectron2s_layout, random_peer, resnet, swin
from official_trees import ade20k_tree, cityscapes_tree, coco_tree, mapillary_tree
from PIL import Image
from published_files import (
    fcclip_state,
    ovrcoat_state,
    small_network,
    write_clip,
    write_clip_config,
    write_pkl,
    write_pth,
)

from opsnet.checkpoint.folder import is_hub_id
from opsnet.commands import prepare
from opsnet.utils.configuration import options
from opsnet.vocabulary import Vocabulary

PAGE = ROOT / "docs" / "models.md"
HUB_ID = "facebook/mask2former-swin-large-coco-panoptic"
COMMANDS = [line for block in blocks(PAGE, "sh") for line in block.splitlines()]
LISTS = {
    "ade20k": "ade20k_150", "cityscapes": "cityscapes", "mapillary_vistas": "mapillary_vistas", "coco": "coco_panoptic",
}  # fmt: skip
IMAGES = ["data.shortest=64", "data.module.num_workers=0", "panels=0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the page supposes it: networks, class lists in FC-CLIP's format, datasets, and the Hub's cache."""
    here = tmp_path_factory.mktemp("models")
    network = small_network("convnext")
    write_clip_config("convnext", here).rename(here / "clip.json")
    write_clip(network, here / "clip.pt")
    write_pth(fcclip_state(network), here / "fcclip_convnext_large.pth")
    write_pth(ovrcoat_state(network), here / "ovrcoat.pth")
    closed = random_peer(resnet(), **SMALL, num_labels=133)
    write_pkl(in_detectron2s_layout(closed.state_dict()), here / "model_final_94dc52.pkl")
    model = here / "hub" / f"models--{HUB_ID.replace('/', '--')}"
    random_peer(swin(), **SMALL, num_labels=133).save_pretrained(model / "snapshots" / "0")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("0")
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(here / "photo.png")
    _datasets(here / "data", here / "official")
    return here


def _datasets(data: Path, official: Path) -> None:
    coco_tree(data / "coco")
    mapillary_tree(data / "mapillary_vistas")
    ade20k_tree(official / "ade20k")
    cityscapes_tree(official / "cityscapes")
    for name in ("ade20k", "cityscapes"):
        prepare.main([name, str(official / name), str(data / name)])
    for name, file in LISTS.items():
        concepts = enumerate(Vocabulary.load(name).concepts)
        keyed = [f"{i if name == 'cityscapes' else c.id}:{','.join(c.names)}" for i, c in concepts]
        (data.parent / f"{file}_with_prompt_eng.txt").write_text("\n".join(keyed))


@pytest.fixture
def reader(folder: Path, monkeypatch: pytest.MonkeyPatch, command: Any) -> Any:
    """Runs a command line in that folder; the small CLIP takes the place of the published one of that shape."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("OPSNET_DATA", "data")
    monkeypatch.setenv("OPSNET_RUNS", "runs")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr("opsnet.published.clips.fitting_clip", lambda state: "clip.json")
    return lambda words, *more: run_documented(words, command, *more)


@pytest.mark.parametrize("line", COMMANDS)
def test_the_command_runs(line: str, reader: Any, folder: Path) -> None:
    words = shlex.split(line)
    output = [f"output={folder / 'out'}"]
    shutil.rmtree(folder / "out", ignore_errors=True)
    small = ["shortest=64"] if words[0] == "opsnet-predict" else IMAGES
    if words[0] == "python":
        small = [*IMAGES, *(word for word in OURS if "decoder" in word)]
    elif "fcclip" not in line and "ovrcoat" not in line:  # the default RN50 would be downloaded
        small = [*small, "clip_model=clip.json", "clip_weights=clip.pt"]
    reader(words, *small, *output)
    written = "panoptic.json" if words[0] == "opsnet-predict" else "results.json"
    assert (folder / "out" / written).is_file()


def test_the_python_runs(reader: Any, folder: Path) -> None:
    (block,) = blocks(PAGE, "python")
    names: dict[str, Any] = {}
    exec(compile(block, "docs/models.md", "exec"), names)
    assert names["again"].train_vocabulary == names["predictor"].train_vocabulary
    assert (folder / "fcclip" / "clip.safetensors").is_file()


def test_the_tables_are_complete() -> None:
    """Hub ids are ids, CLIPs are options of conf/clip, and every file has a row of its own."""
    text = PAGE.read_text(encoding="utf-8")
    ids = re.findall(r"`(facebook/[\w-]+)`", text)
    assert len(set(ids)) == 4
    assert all(is_hub_id(name) for name in ids)
    drive = re.findall(r"drive\.google\.com/file/d/([\w-]+)/view", text)
    assert len(drive) == len(set(drive)) == 7
    assert len(set(re.findall(r"model_final_\w{6}\.pkl", text))) == 7
    named = set(re.findall(r"\| `((?:rn|convnext)\w+)` \|", text))
    assert named == set(options("clip")) - {"tiny", "convnext_base_w_320"}
