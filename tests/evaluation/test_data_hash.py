"""Stored proposals know the data that they were made from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.data.transforms import EvalTransform
from opsnet.evaluation.data_hash import data_hashes, differing
from opsnet.evaluation.run import evaluate
from opsnet.utils.errors import InputError


@pytest.fixture
def config(compose, world_overrides, trained):
    def make(output: Path, *overrides: str):
        given = [f"checkpoint={trained.checkpoint}", f"output={output}", "device=cpu", "settings=[full/cls_iou]"]
        return compose("evaluate", *world_overrides, *given, "panels=0", *overrides)

    return make


@pytest.fixture
def copy(world, tmp_path) -> Path:
    """A copy of the data, so that a test can change it."""
    return Path(shutil.copytree(world.data, tmp_path / "data"))


def annotations(data: Path) -> Path:
    return data / "scenes_0" / "scenes" / "annotations" / "panoptic_test.json"


def dataset(data: Path, **more) -> PanopticDataset:
    path = annotations(data)
    return PanopticDataset(images=path.parents[1] / "test", annotations=path, vocabulary="scenes", **more)


def test_each_hash_depends_on_its_part_only(world, copy) -> None:
    first = data_hashes(dataset(world.data))
    assert data_hashes(dataset(copy)) == first
    resized = data_hashes(dataset(copy, transform=EvalTransform(shortest=64, longest=None)))
    assert [key for key in first if resized[key] != first[key]] == ["transform"]
    assert differing(resized, first) == []
    path = annotations(copy)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1))
    assert differing(data_hashes(dataset(copy)), first) == ["annotations"]
    image = dataset(copy).image_paths[0]
    image.write_bytes(image.read_bytes() + b"x")
    assert differing(data_hashes(dataset(copy)), first) == ["annotations", "images"]


def test_proposals_are_not_scored_on_other_data(config, copy, tmp_path) -> None:
    run = tmp_path / "run"
    saved = evaluate(config(run, "save_proposals=true", f"paths.data={copy}")).metrics
    stored = (f"proposals={run}", "checkpoint=null", f"paths.data={copy}")
    assert evaluate(config(tmp_path / "same", *stored)).metrics == saved
    path = annotations(copy)
    content = json.loads(path.read_text())
    for one in content["annotations"]:
        one["segments_info"][0]["iscrowd"] = 1
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"scenes has proposals of other annotations than .*panoptic_test\.json"):
        evaluate(config(tmp_path / "other", *stored))
