"""Collation of panoptic samples; of labelled ones see test_image_label_dataset.py."""

from __future__ import annotations

import pytest
import torch

from opsnet.data.batching import collate
from opsnet.data.datamodule import PanopticDataModule
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.data.transforms import EvalTransform
from opsnet.structures import SegmentTargets


def test_collate_pads_at_the_right_and_bottom(tiny):
    dataset = PanopticDataset(**tiny.options)
    batch = collate([dataset[0], dataset[1], dataset[2]], vocabulary="tiny", size_divisor=4)
    assert batch.images.shape == (3, 3, 8, 8)  # 5 and 6 rounded up to multiples of 4
    assert batch.images.dtype == torch.float32
    assert batch.valid_sizes == [(4, 6), (5, 3), (4, 4)]
    assert batch.image_ids == [7, 8, 9]
    assert batch.vocabulary == "tiny"
    assert batch.panoptic == []
    assert batch.images[1, 1, :5, :3].unique().item() == pytest.approx(100 / 255)
    assert batch.images[1, :, 5:].abs().sum() == batch.images[1, :, :, 3:].abs().sum() == 0
    assert isinstance(batch.targets, SegmentTargets)
    masks = batch.targets.masks
    assert [tuple(m.shape) for m in masks] == [(3, 8, 8), (2, 8, 8), (0, 8, 8)]
    assert masks[0].dtype == torch.bool
    assert torch.equal(masks[0][:, :4, :6], dataset[0].masks)
    assert masks[0].sum() == dataset[0].masks.sum()  # nothing in the padding
    assert [x.tolist() for x in batch.targets.labels] == [[0, 2, 1], [0, 1], []]


def test_collate_keeps_truth_at_the_size_on_disk_when_asked(tiny):
    dataset = PanopticDataset(**tiny.options)
    batch = collate([dataset[0], dataset[1]], vocabulary="tiny", with_ground_truth=True)
    assert batch.images.shape == (2, 3, 32, 32)
    assert [tuple(t.ids.shape) for t in batch.panoptic] == [(4, 6), (5, 3)]
    assert len(batch.panoptic[0].segments) == 4


def test_batches_for_scoring_have_no_masks(tiny):
    loader = PanopticDataModule(
        train=None, val=None, test={"tiny": PanopticDataset(**tiny.options)}, batch_size=1, num_workers=0
    )
    loader.setup("test")
    batch = next(iter(loader.test_dataloader()[0]))
    assert batch.targets is None
    assert len(batch.panoptic[0].segments) == 4


def test_maps_get_the_size_on_disk_of_resized_images(tiny):
    dataset = PanopticDataset(**tiny.options, transform=EvalTransform(shortest=8, longest=20))
    batch = collate([dataset[0], dataset[1]], vocabulary="tiny", with_ground_truth=True)
    assert batch.valid_sizes == [(8, 12), (13, 8)]
    assert batch.map_sizes == batch.original_sizes == [(4, 6), (5, 3)]
    cropped = collate([dataset[0]], vocabulary="tiny")  # as in training
    assert (cropped.original_sizes, cropped.map_sizes) == ([], [(8, 12)])


def test_collate_leaves_float_images_in_their_range(tiny):
    def halve(image, segments):
        return image.float() / 510, segments

    sample = PanopticDataset(**tiny.options, transform=halve)[1]
    assert collate([sample], vocabulary="tiny").images[0, 1, 0, 0].item() == pytest.approx(100 / 510)
