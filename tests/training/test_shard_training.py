"""OPSNet+ on shards, with the command as users run it: equal to the folder of images, also on two ranks, stopped."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch
import webdataset
from small_training import SMALL

from opsnet.data.mixed import _LABEL_STREAM
from opsnet.data.samplers import EndlessSampler
from opsnet.data.shard_dataset import ShardDataset
from opsnet.utils.seeding import mix_seed

pytestmark = pytest.mark.slow


def write_labels(world: Path, folder: Path, copies: int = 1, shards: int = 3) -> int:
    """Writes the miniature's image labels as shards, byte for byte, and returns the number of its images."""
    root = world / "scenes_0" / "scenes_labels"
    lists, files = json.loads((root / "real.json").read_text()), sorted((root / "val").iterdir())
    samples = [
        {"__key__": f"{path.stem}_{copy}", path.suffix[1:]: path.read_bytes(), "json": {"labels": labels}}
        for copy in range(copies)
        for path, labels in zip(files, lists, strict=True)
    ]
    folder.mkdir()
    for shard in range(shards):
        part = samples[shard * len(samples) // shards : (shard + 1) * len(samples) // shards]
        with webdataset.TarWriter(str(folder / f"labels-{shard:03d}.tar")) as writer:
            for sample in part:
                writer.write(sample)
    return len(samples)


def run(world: list[str], folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    given = [f"++{o}" if o.startswith("trainer.") else o for o in SMALL]
    command = [sys.executable, "-m", "opsnet.train", *world, "experiment=scenes_plus", *given]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPSNET_CACHE": str(folder.parent / "cache")}
    words = [*command, f"hydra.run.dir={folder}", "image_labels=cls_masksum", *overrides]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=900)


def start(*given: object) -> Path:
    done = run(*given)
    assert done.returncode == 0, done.stdout + done.stderr
    return given[1]


def of_shards(folder: Path, window: str) -> list[str]:
    labels = "data.module.labels"
    return [
        f"{labels}._target_=opsnet.data.shard_dataset.ShardDataset", f"~{labels}.images", f"~{labels}.labels",
        f"+{labels}.shards={folder}/labels-*.tar", f"+{labels}.label=json.labels", f"+{labels}.window={window}",
        f"+{labels}.cache=${{paths.cache}}/shards", "+data.module.exact_epochs=true",
    ]  # fmt: skip


def logged(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["train/loss"]]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)["state_dict"]


@pytest.fixture
def common(trained) -> list[str]:
    """Valid proposals from the first step on, so that the labels are learned from; and batches across epochs."""
    return [
        f"init_from={trained.checkpoint}", "losses.image_label_matching.iou_threshold=0", "trainer.max_epochs=-1",
        "trainer.max_steps=7",
    ]  # fmt: skip


def test_shards_train_as_the_folder_of_the_same_images(world, world_overrides, common, tmp_path) -> None:
    write_labels(world.data, tmp_path / "shards")
    sizes = [*common, "data.module.label_batch_size=3"]
    folder = start(world_overrides, tmp_path / "folder", *sizes, "+data.module.exact_epochs=true")
    shards = start(world_overrides, tmp_path / "run", *sizes, *of_shards(tmp_path / "shards", "null"))
    ours, theirs = logged(shards), logged(folder)
    assert len(ours) == 7
    assert ours == theirs
    assert float(ours[0]["train/label_proposals"]) > 0
    results = [json.loads((run / "results.json").read_text())["metrics"] for run in (shards, folder)]
    assert results[0] == results[1]
    assert all(torch.equal(a, b) for a, b in zip(weights(shards).values(), weights(folder).values(), strict=True))
    assert len(list((tmp_path / "cache" / "shards").glob("*.safetensors"))) == 3


def test_two_ranks_with_two_workers_stopped_within_an_epoch(world, world_overrides, common, tmp_path) -> None:
    """An image that cannot be read stops the run in its sixth step; mended, it resumes as if nothing had happened."""
    shards = tmp_path / "shards"
    write_labels(world.data, shards, copies=6)
    given = [
        *common, *of_shards(shards, "16"), "trainer=scenes_ddp", "trainer.devices=2", "++data.module.num_workers=2",
        "data.module.label_batch_size=4",
    ]  # fmt: skip
    whole = start(world_overrides, tmp_path / "whole", *given)
    labels = ShardDataset(shards=f"{shards}/labels-*.tar", label="json.labels", vocabulary="scenes_labels", window=16)
    sampler = EndlessSampler(
        len(labels), batch_size=2, rank=1, world_size=2, seed=mix_seed(0, _LABEL_STREAM), order=labels.shuffled
    )
    sampler.set_epoch(0, 5)
    _, index = next(iter(sampler))[0]
    path, key, content = labels._bytes(index)
    tar = path.read_bytes()
    with tarfile.open(path) as opened:  # its copies have the same content
        (member,) = (m for m in opened if m.name.rpartition(".")[0] == key and not m.name.endswith(".json"))
    place = member.offset_data
    assert tar[place : place + member.size] == content
    path.write_bytes(tar[: place + 40] + bytes(member.size - 40) + tar[place + member.size :])
    stopped = tmp_path / "stopped"
    done = run(world_overrides, stopped, *given, "resume=auto")
    assert done.returncode != 0
    assert f"error: sample {key} in {path} cannot be read as an image" in done.stderr, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    checkpoint = torch.load(stopped / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)
    assert checkpoint["global_step"] == 5  # of four in a panoptic epoch
    path.write_bytes(tar)
    start(world_overrides, stopped, *given, "resume=auto")
    assert logged(stopped) == logged(whole)
    ours, theirs = weights(stopped), weights(whole)
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)
