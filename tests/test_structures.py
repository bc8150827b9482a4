"""Data classes: frozen, validated, and moved between devices as a whole."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from opsnet.structures import (
    Batch,
    DeepSupervision,
    GroundTruth,
    ImageLabels,
    LayerQueries,
    Proposals,
    Segment,
    SegmentTargets,
    TextBank,
)


def make_batch() -> Batch:
    return Batch(
        images=torch.zeros(1, 3, 4, 4),
        valid_sizes=[(4, 3)],
        image_ids=[9],
        vocabulary="tiny",
        targets=SegmentTargets(masks=[torch.ones(1, 4, 4, dtype=torch.bool)], labels=[torch.tensor([0])]),
        panoptic=[GroundTruth(ids=torch.ones(4, 3, dtype=torch.int64), segments=(Segment(1, 0, True, area=12),))],
    )


def make_proposals(supervision: DeepSupervision | None = None) -> Proposals:
    return Proposals(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 8), torch.zeros(1, 2), supervision)


def test_to_moves_every_tensor_however_deep() -> None:
    # The "meta" device is there on every machine and differs from the CPU.
    moved = make_batch().to("meta")
    assert isinstance(moved.targets, SegmentTargets)
    tensors = [moved.images, *moved.targets.masks, *moved.targets.labels, moved.panoptic[0].ids]
    assert {t.device.type for t in tensors} == {"meta"}
    assert moved.targets.masks[0].dtype == torch.bool


def test_to_leaves_everything_else_as_it_was() -> None:
    batch = make_batch()
    moved = batch.to("meta")
    assert moved.valid_sizes == [(4, 3)]
    assert moved.image_ids == [9]
    assert moved.vocabulary == "tiny"
    assert moved.panoptic[0].segments == batch.panoptic[0].segments
    assert batch.images.device.type == "cpu"  # the old batch did not change


def test_to_without_targets() -> None:
    batch = Batch(torch.zeros(1, 3, 2, 2), [(2, 2)], [1], "tiny")
    assert batch.targets is None
    assert batch.panoptic == []
    assert batch.to("meta").targets is None


def test_image_labels_move() -> None:
    batch = dataclasses.replace(make_batch(), targets=ImageLabels([torch.tensor([1, 2])])).to("meta")
    assert isinstance(batch.targets, ImageLabels)
    assert batch.targets.labels[0].device.type == "meta"


def test_proposals_move_with_every_layer() -> None:
    layer = LayerQueries(torch.zeros(1, 2, 3), torch.zeros(1, 2, 8), torch.zeros(1, 2))
    moved = make_proposals(DeepSupervision((layer, layer), torch.zeros(1, 3, 4, 4))).to("meta").supervision
    assert isinstance(moved.layers, tuple)
    assert len(moved.layers) == 2
    assert moved.layers[1].iou.device.type == moved.pixels.device.type == "meta"


def test_masks_of_every_layer_are_products() -> None:
    pixels = torch.arange(6.0).view(1, 2, 1, 3)
    embeds = torch.tensor([[[1.0, 0.0], [2.0, -1.0]]])
    layer = LayerQueries(embeds, torch.zeros(1, 2, 8), torch.zeros(1, 2))
    first, second = DeepSupervision((layer, dataclasses.replace(layer, mask_embeds=-embeds)), pixels).mask_logits()
    assert first.tolist() == [[[[0.0, 1.0, 2.0]], [[-3.0, -2.0, -1.0]]]]
    assert torch.equal(second, -first)


def test_text_bank_moves() -> None:
    bank = TextBank("tiny", ("cat",), torch.tensor([True]), torch.ones(1, 4)).to("meta")
    assert bank.names == ("cat",)
    assert bank.embeds.device.type == bank.is_thing.device.type == "meta"


def test_carriers_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_proposals().iou = torch.ones(1, 2)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("embeds", "is_thing"),
    [(torch.ones(3, 4), torch.ones(2)), (torch.ones(2, 4), torch.ones(3)), (torch.ones(2), torch.ones(2))],
)
def test_text_bank_states_both_sides_of_a_mismatch(embeds: torch.Tensor, is_thing: torch.Tensor) -> None:
    with pytest.raises(ValueError) as error:
        TextBank("tiny", ("cat", "dog"), is_thing.bool(), embeds)
    assert "'tiny': 2 names need embeds (2, D) and is_thing (2,)" in str(error.value)
    assert str(tuple(embeds.shape)) in str(error.value)
    assert str(tuple(is_thing.shape)) in str(error.value)


def test_a_concept_has_the_largest_value_of_its_names() -> None:
    bank = TextBank("tiny", ("cat", "dog"), torch.ones(2).bool(), torch.ones(3, 4), torch.tensor([0, 0, 1]))
    values = torch.tensor([[1.0, 5.0, -2.0], [7.0, 0.0, 3.0]])
    assert bank.max_per_concept(values).tolist() == [[5.0, -2.0], [7.0, 3.0]]
    assert bank.max_per_concept(values[0]).tolist() == [5.0, -2.0]
    plain = TextBank("tiny", ("cat", "dog"), torch.ones(2).bool(), torch.ones(2, 4))
    assert torch.equal(plain.max_per_concept(values[:, :2]), values[:, :2])


def test_rows_of_concepts_are_counted() -> None:
    with pytest.raises(ValueError, match=r"need embeds \(3, D\)"):
        TextBank("tiny", ("cat", "dog"), torch.ones(2).bool(), torch.ones(2, 4), torch.tensor([0, 0, 1]))


def test_a_bank_of_some_concepts_keeps_all_their_names() -> None:
    embeds = torch.arange(4.0)[:, None]
    bank = TextBank("tiny", ("cat", "dog", "eel"), torch.tensor([1, 0, 1]).bool(), embeds, torch.tensor([0, 1, 1, 2]))
    chosen = bank.select(torch.tensor([1, 2]))
    assert chosen.names == ("dog", "eel")
    assert chosen.is_thing.tolist() == [False, True]
    assert chosen.embeds[:, 0].tolist() == [1, 2, 3]
    assert chosen.concept.tolist() == [0, 0, 1]
    plain = TextBank("tiny", ("cat", "dog", "eel"), torch.ones(3).bool(), embeds[:3]).select(torch.tensor([0, 2]))
    assert plain.embeds[:, 0].tolist() == [0, 2]
    assert plain.concept is None
