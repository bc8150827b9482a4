"""Equation 1 by hand and in edge cases, and the loss of whole batches: modulated embeddings, sampled names."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from ranks import on_two_ranks
from torch import nn

from opsnet.losses.context import ImageLabelContext, image_label_context
from opsnet.losses.image_label_matching import ImageLabelMatching, image_label_matching_loss, sample_names
from opsnet.recognition.modulation import EmbeddingModulation, QueryOnly
from opsnet.recognition.recognizer import PreparedNames, prepare
from opsnet.structures import Batch, Embeddings, ImageLabels, Proposals, TextBank

LN2, LN3 = math.log(2), math.log(3)
# One image, two proposals, three names: softmax rows (1/2, 1/4, 1/4) and (1/5, 3/5, 1/5).
LOGITS = torch.tensor([[[LN2, 0.0, 0.0], [0.0, LN3, 0.0]]])
BOTH = torch.tensor([[True, True]])


def matching(logits=LOGITS, valid=BOTH, labels=((0, 1),), form="probability") -> float:
    tensors = [torch.tensor(found, dtype=torch.int64) for found in labels]
    return float(image_label_matching_loss(logits, valid, tensors, form=form))


def test_each_label_uses_its_most_confident_proposal() -> None:
    assert matching() == pytest.approx(1 - (1 / 2 + 3 / 5) / 2)
    assert matching(labels=((2,),)) == pytest.approx(1 - 1 / 4)
    assert matching(form="log") == pytest.approx(-(math.log(1 / 2) + math.log(3 / 5)) / 2)


def test_a_proposal_that_is_not_valid_cannot_satisfy_a_label() -> None:
    assert matching(valid=torch.tensor([[True, False]])) == pytest.approx(1 - (1 / 2 + 1 / 4) / 2)


def test_a_duplicate_label_counts_once() -> None:
    assert matching(labels=((0, 0, 1, 0),)) == pytest.approx(matching())


def test_further_masks_of_a_name_and_unlabelled_names_are_not_penalised() -> None:
    twice = torch.cat((LOGITS, LOGITS), dim=1)
    assert matching(twice, torch.ones(1, 4, dtype=torch.bool)) == pytest.approx(matching())
    assert matching(labels=((0,),)) == pytest.approx(1 - 1 / 2)  # that the other proposal predicts 1 is not penalised


def test_images_without_a_label_or_a_valid_proposal_do_not_count() -> None:
    logits, valid = LOGITS.repeat(3, 1, 1), torch.tensor([[True, True], [True, True], [False, False]])
    assert matching(logits, valid, ((0, 1), (), (0,))) == pytest.approx(matching())


@pytest.mark.parametrize("form", ["probability", "log"])
def test_if_no_image_counts_loss_and_gradient_are_zero(form) -> None:
    logits = LOGITS.repeat(2, 1, 1).requires_grad_()
    none, labels = (
        torch.tensor([[True, True], [False, False]]),
        [torch.tensor([], dtype=torch.int64), torch.tensor([1])],
    )
    loss = image_label_matching_loss(logits, none, labels, form=form)
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("form", ["probability", "log"])
def test_gradients_stay_finite_if_a_name_is_far_from_all_proposals(form) -> None:
    logits = torch.tensor([[[100.0, -100.0], [100.0, -100.0]]], requires_grad=True)  # cosines of 1 and -1
    image_label_matching_loss(logits, BOTH, [torch.tensor([1])], form=form).backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad.abs().sum() > 1) == (form == "log")  # only the logarithm still has a gradient


@pytest.mark.parametrize("form", ["probability", "log"])
def test_the_matching_losss_gradient_is_that_of_its_value(form) -> None:
    logits = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(0))
    valid = torch.tensor([[True, False, True], [True, True, True]])
    labels = [torch.tensor([0, 3]), torch.tensor([2])]
    assert torch.autograd.gradcheck(lambda x: image_label_matching_loss(x, valid, labels, form=form), logits)


def loss_of_rank(rank: int) -> torch.Tensor:
    """Two images with a label on the first rank, one with and one without on the second."""
    labels = [[torch.tensor([0]), torch.tensor([1])], [torch.tensor([2]), torch.tensor([], dtype=torch.int64)]][rank]
    return image_label_matching_loss(LOGITS.repeat(2, 1, 1), BOTH.repeat(2, 1), labels)


def test_the_mean_over_ranks_is_the_loss_of_all_their_images(tmp_path) -> None:
    first, second = on_two_ranks(loss_of_rank, tmp_path)
    assert float(first + second) / 2 == pytest.approx((1 / 2 + 2 / 5 + 3 / 4) / 3)


# --- whole batches ---------------------------------------------------------------------------------------------------


D, K, NAMES = 4, 3, 6


def bank(name: str, embeds: torch.Tensor) -> TextBank:
    return TextBank(
        name, tuple(f"{name} {i}" for i in range(len(embeds))), torch.ones(len(embeds), dtype=torch.bool), embeds
    )


def random_bank(name: str, count: int, seed: int) -> TextBank:
    return bank(name, F.normalize(torch.randn(count, D, generator=torch.Generator().manual_seed(seed)), dim=-1))


class Fixed(nn.Module):
    """A network with the same proposals for every image."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.queries = nn.Parameter(torch.randn(1, K, D, generator=generator))
        self.clip_embeds = torch.randn(1, K, D, generator=generator)
        self.masks = nn.Parameter(torch.randn(1, K, 2, 2, generator=generator))
        self.no_object_embed = nn.Parameter(torch.ones(D))
        self.iou = torch.tensor([[0.9, 0.4, 0.8]])

    def forward(self, images, valid_sizes, *, return_intermediate):
        assert return_intermediate is False
        b = len(images)
        parts = (self.masks, self.queries, self.iou)
        return Proposals(*(p.expand(b, *p.shape[1:]) for p in parts)), torch.zeros(b, D, 1, 1)

    def embed(self, proposals, clip_map, size):
        return Embeddings(proposals.query_embeds, self.clip_embeds.expand_as(proposals.query_embeds))


def batch(*labels: list[int]) -> Batch:
    found = [torch.tensor(x, dtype=torch.int64) for x in labels]
    images = torch.zeros(len(labels), 3, 8, 8)
    return Batch(images, [(8, 8)] * len(labels), list(range(len(labels))), "labels", ImageLabels(found))


def label_matching(beta: float = 0.0, **options) -> ImageLabelMatching:
    # Random embeddings are far from their labels: 1 - p would be 1.
    return ImageLabelMatching(weight=1.0, recognizer=EmbeddingModulation(alpha=10.0, beta=beta), form="log", **options)


LABELS = prepare(random_bank("labels", NAMES, 2), random_bank("train", 5, 3))


def context(given: Batch, model: Fixed | None = None, names: PreparedNames = LABELS) -> ImageLabelContext:
    return image_label_context(given, model=model or Fixed(), recognizer=QueryOnly(), names=names, seed=0)


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_names_are_scored_with_modulated_embeddings_and_both_vocabularies(beta) -> None:
    model, given, loss = Fixed(), batch([0, 3], [5]), label_matching(beta)
    found = loss(context(given, model))
    proposals, clip_map = model(given.images, given.valid_sizes, return_intermediate=False)
    logits, _ = EmbeddingModulation(alpha=10.0, beta=beta)(
        model.embed(proposals, clip_map, (8, 8)), LABELS, model.no_object_embed
    )
    direct = image_label_matching_loss(logits, proposals.iou > 0.5, given.targets.labels, form="log")
    assert float(found.detach()) == pytest.approx(float(direct.detach()))
    found.backward()
    assert model.queries.grad.abs().sum() > 0


def test_the_threshold_chooses_the_proposals() -> None:
    given = context(batch([0], [5]))
    found = {
        t: float(label_matching(iou_threshold=t).metrics(given)["label_proposals"]) for t in (0.3, 0.5, 0.8, 0.85, 0.95)
    }
    assert found == {0.3: 3, 0.5: 2, 0.8: 1, 0.85: 1, 0.95: 0}
    assert float(label_matching(iou_threshold=0.95)(given).detach()) == 0
    losses = [float(label_matching(iou_threshold=t)(given).detach()) for t in (0.3, 0.5, 0.85)]
    assert losses == sorted(losses)  # fewer proposals to choose from


def test_the_predicted_iou_gets_no_gradient_from_labels() -> None:
    model = Fixed()
    model.iou.requires_grad_()
    label_matching()(context(batch([0]), model)).backward()
    assert model.iou.grad is None


def test_sampled_names_do_not_change_labels_and_s() -> None:
    given = batch([1, 4], [5])
    every, few = label_matching()(context(given)), label_matching(sampled_names=4)(context(given))
    assert float(few.detach()) < float(every.detach())  # fewer competing names
    assert torch.equal(label_matching(sampled_names=NAMES)(context(given)), every)
    # A vocabulary with only the sampled names, and the s of the whole one, gives the same.
    chosen = sample_names(given.targets.labels, NAMES, 4, 0)
    places = [torch.searchsorted(chosen, x) for x in given.targets.labels]
    alone = label_matching()(context(batch(*(p.tolist() for p in places)), names=LABELS.select(chosen)))
    assert float(alone.detach()) == pytest.approx(float(few.detach()))


def test_the_sample_contains_every_label_and_is_determined_by_its_seed() -> None:
    labels = [torch.tensor([7, 2]), torch.tensor([2, 9])]
    chosen = sample_names(labels, 50, 10, seed=3)
    assert len(chosen) == 10
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert {2, 7, 9} <= set(chosen.tolist()) < set(range(50))
    assert torch.equal(chosen, sample_names(labels, 50, 10, seed=3))
    assert not torch.equal(chosen, sample_names(labels, 50, 10, seed=4))
    assert sample_names(labels, 50, 1, seed=3).tolist() == [2, 7, 9]


def test_invalid_options_are_refused() -> None:
    with pytest.raises(ValueError, match="sampled_names must be at least 1, or null for all, got 0"):
        label_matching(sampled_names=0)
    with pytest.raises(ValueError, match="form must be one of probability, log, got 'max'"):
        ImageLabelMatching(weight=1.0, recognizer=QueryOnly(), form="max")
