"""The network on the ground truth's masks, in batches, and settings that cannot name them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from published_files import small_network

from opsnet.evaluation.ground_truth_masks import check_mask_classification, run_with_ground_truth
from opsnet.inference.given_masks import run_with_masks
from opsnet.inference.settings import parse_setting
from opsnet.model import OPSNet
from opsnet.prediction.images import NetworkSize, to_batch
from opsnet.structures import Batch, GroundTruth, Segment
from opsnet.utils.errors import InputError


@pytest.fixture(scope="module")
def network() -> OPSNet:
    return small_network("resnet")


def batch_of(*sizes: tuple[int, int]) -> Batch:
    """Images of random pixels, whose upper halves are a thing, the rows below a crowd, and the last one void."""
    rng, truths = np.random.default_rng(0), []
    for height, width in sizes:
        ids = torch.full((height, width), 3)
        ids[height // 2 :], ids[-1] = 5, 0
        truths.append(GroundTruth(ids, (Segment(3, 0, True), Segment(5, 1, True, is_crowd=True))))
    images = [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes]
    batch = to_batch(images, size=NetworkSize())
    return Batch(batch.images, batch.valid_sizes, batch.image_ids, "two", panoptic=truths,
                 original_sizes=list(sizes))  # fmt: skip


def test_each_image_of_a_batch_has_the_output_of_its_own_masks(network: OPSNet) -> None:
    batch = batch_of((64, 96), (64, 64))
    outputs = run_with_ground_truth(network, batch)
    assert [len(one.clip["pooling"][0]) for one in outputs] == [1, 1], "crowd is not classified"
    for k, (one, truth) in enumerate(zip(outputs, batch.panoptic, strict=True)):
        single = Batch(batch.images[k : k + 1], batch.valid_sizes[k : k + 1], batch.image_ids[k : k + 1], "two",
                       original_sizes=batch.original_sizes[k : k + 1])  # fmt: skip
        expected = run_with_masks(network, single, (truth.ids == 3)[None], torch.ones(1))
        assert torch.equal(one.clip["pooling"], expected.clip["pooling"])
    assert not torch.equal(outputs[0].clip["pooling"], outputs[1].clip["pooling"])


def test_an_image_without_a_segment_has_an_empty_output(network: OPSNet) -> None:
    batch = batch_of((64, 64))
    nothing = GroundTruth(torch.zeros(64, 64, dtype=torch.int64), ())
    (found,) = run_with_ground_truth(network, Batch(
        batch.images, batch.valid_sizes, batch.image_ids, "two", panoptic=[nothing], original_sizes=[(64, 64)],
    ))  # fmt: skip
    assert found.clip["pooling"].shape[:2] == found.proposals.query_embeds.shape[:2] == (1, 0)


class OwnMasksOnly:
    """A network that embeds only the masks of its queries, as OPSNet."""

    names_masks = False


def test_settings_that_cannot_name_masks_are_refused(network: OPSNet) -> None:
    full, clip, masking = (parse_setting(f"{name}/cls_iou") for name in ("full", "clip_only", "masking"))
    check_mask_classification(network, [full, clip])
    check_mask_classification(OwnMasksOnly(), [clip])
    with pytest.raises(InputError, match="cannot score full/cls_iou: it needs query embeddings, .*clip_only/cls_iou"):
        check_mask_classification(OwnMasksOnly(), [clip, full])
    with pytest.raises(InputError, match="cannot score masking/cls_iou, whose CLIP embeddings are masking: give"):
        check_mask_classification(network, [masking])
