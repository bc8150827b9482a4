"""The context of a step: what a loss can read, and what is computed only if it does."""

from __future__ import annotations

import pytest
import torch

from opsnet.losses.context import inside_padding, segment_context
from opsnet.losses.point_sampling import StepSeeds
from opsnet.structures import Batch, SegmentTargets
from opsnet.training.run import build_module
from opsnet.vocabulary import Vocabulary


def segments() -> Batch:
    masks = torch.zeros(1, 96, 96, dtype=torch.bool)
    masks[0, :48] = True
    targets = SegmentTargets([masks, masks[:0]], [torch.tensor([1]), torch.tensor([], dtype=torch.int64)])
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    return Batch(images, [(96, 96), (60, 90)], [0, 1], "scenes", targets)


@pytest.mark.parametrize("attention", [True, False])
def test_a_loss_reads_embeddings_the_recognizer_and_the_network(attention, train_config, tmp_path) -> None:
    without = [] if attention else ["model.query_decoder.clip_attention=null"]
    module = build_module(train_config(tmp_path, *without), Vocabulary.load("scenes"))
    module.model.eval().query_decoder.train()
    looked: list[int] = []
    module.model.clip.image_encoder.register_forward_hook(lambda *_: looked.append(1))
    batch, names = segments(), module.names.prepared(module.train_vocabulary)
    seeds = StepSeeds.of(0, 0, batch.image_ids)
    context = segment_context(
        batch, model=module.model, recognizer=module.recognizer, names=names, matcher=module.matcher, seeds=seeds
    )
    assert context.model is module.model
    assert context.recognizer is module.recognizer
    assert context.layers[-1].iou is context.proposals.iou
    assert len(looked) == attention
    found = context.embeddings
    assert len(looked) == 1
    assert context.embeddings is found
    proposals, clip_map = module.model(batch.images, batch.valid_sizes)
    expected = module.model.embed(proposals, clip_map, (96, 96))
    assert torch.equal(context.clip_map, clip_map)
    torch.testing.assert_close(found.query, expected.query)
    torch.testing.assert_close(found.clip, expected.clip)


def test_pixels_in_the_image_and_in_the_padding() -> None:
    # A mask pixel covers four image pixels: the centres lie at 2, 6 and 10.
    inside = inside_padding([(12, 12), (7, 6), (6, 2)], (12, 12), torch.zeros(3, 1, 3, 3))
    assert inside.sum((1, 2)).tolist() == [9, 2, 0]
    assert inside[1].tolist() == [[True, False, False], [True, False, False], [False, False, False]]
