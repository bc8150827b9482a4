"""The instances of LVIS' json for the images of the prepared set."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from official_trees import lvis_tree
from pycocotools import mask as coco_masks

from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.evaluation.data_hash import data_hashes
from opsnet.evaluation.federated_truth import LvisTruth
from opsnet.preparation.lvis import prepare
from opsnet.utils.errors import DatasetError, InputError


@pytest.fixture
def dataset(tmp_path: Path, compose) -> PanopticDataset:
    from hydra.utils import instantiate

    lvis_tree(tmp_path / "coco")
    prepare(tmp_path / "coco", tmp_path / "lvis", workers=1)
    config = compose("train", "data=lvis", f"paths.data={tmp_path}")
    return instantiate(config.data.module.test.lvis, _convert_="object")()


def test_instances_overlap_and_say_what_is_annotated(dataset: PanopticDataset) -> None:
    truth = LvisTruth(dataset)
    image, labels = truth.image(0), dataset.vocabulary.index_of_id
    assert image.size == (40, 60)
    assert [one.label for one in image.true] == [labels[i] for i in (367, 344, 367, 698)]
    masks = [coco_masks.decode(one.mask).astype(bool) for one in image.true]
    assert [int(mask.sum()) for mask in masks] == [60 * 30, 100, 16, 100]
    assert np.logical_and(masks[0], masks[1]).sum() == 100, "the cup is part of the table's mask too"
    assert (image.negative, image.not_exhaustive) == ({labels[1203]}, {labels[698]})
    assert truth.image(1).true == () and truth.image(1).not_exhaustive == frozenset()
    assert truth.groups == {"r": [labels[1203]], "c": [labels[367]], "f": [labels[344], labels[698]]}


def test_an_image_that_lvis_lacks_is_named(dataset: PanopticDataset) -> None:
    content = json.loads(dataset.instances.read_text())
    content["images"].pop()
    dataset.instances.unlink()  # a link
    dataset.instances.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="lvis_v1_val.json lacks image 25 of .*lvis_val.json"):
        LvisTruth(dataset)
    dataset.instances.unlink()
    with pytest.raises(InputError, match="lvis_v1_val.json does not exist"):
        LvisTruth(dataset)


def test_results_are_of_the_instances_too(dataset: PanopticDataset) -> None:
    before = data_hashes(dataset)
    content = json.loads(dataset.instances.read_text())
    content["images"][0]["neg_category_ids"] = []
    dataset.instances.unlink()
    dataset.instances.write_text(json.dumps(content))
    after = data_hashes(dataset)
    assert {key for key in before if before[key] != after[key]} == {"instances"}
    assert dataclasses.is_dataclass(LvisTruth(dataset).image(0))
