"""From pictures with labels to losses: modulated embeddings, sampled names, figures."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from opsnet.losses.decoupled_supervision import DecoupledSupervision
from opsnet.recognition.modulation import EmbeddingModulation
from opsnet.recognition.recognizer import prepare
from opsnet.structures import Batch, Embeddings, ImageLabels, Proposals, TextBank
from opsnet.training.image_labels import ImageLabelSupervision, sample_names

D, K, NAMES = 4, 3, 6
CRITERION = DecoupledSupervision(form="log")  # embeddings at random are far from their labels: 1 - p would be 1


def bank(name: str, embeds: torch.Tensor) -> TextBank:
    return TextBank(
        name, tuple(f"{name} {i}" for i in range(len(embeds))), torch.ones(len(embeds), dtype=torch.bool), embeds
    )


def random_bank(name: str, count: int, seed: int) -> TextBank:
    return bank(name, F.normalize(torch.randn(count, D, generator=torch.Generator().manual_seed(seed)), dim=-1))


class Fixed(nn.Module):
    """A network that proposes the same for every picture."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.queries = nn.Parameter(torch.randn(1, K, D, generator=generator))
        self.clip_embeds = torch.randn(1, K, D, generator=generator)
        self.masks = nn.Parameter(torch.randn(1, K, 2, 2, generator=generator))
        self.no_object_embed = nn.Parameter(torch.ones(D))
        self.iou = torch.tensor([[0.9, 0.4, 0.8]])

    def forward(self, images, valid_sizes, *, every_layer):
        assert every_layer is False
        b = len(images)
        parts = (self.masks, self.queries, self.iou)
        return Proposals(*(p.expand(b, *p.shape[1:]) for p in parts)), torch.zeros(b, D, 1, 1)

    def embed(self, proposals, clip_map, size):
        return Embeddings(proposals.query_embeds, self.clip_embeds.expand_as(proposals.query_embeds))


def batch(*labels: list[int]) -> Batch:
    found = [torch.tensor(x, dtype=torch.int64) for x in labels]
    images = torch.zeros(len(labels), 3, 8, 8)
    return Batch(images, [(8, 8)] * len(labels), list(range(len(labels))), "labels", ImageLabels(found))


def supervision(**options) -> ImageLabelSupervision:
    modulation = EmbeddingModulation(alpha=10.0, beta=options.pop("beta", 0.0))
    return ImageLabelSupervision(criterion=CRITERION, modulation=modulation, **options)


LABELS = prepare(random_bank("labels", NAMES, 2), random_bank("train", 5, 3))


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_the_names_are_told_by_modulated_embeddings_between_both_vocabularies(beta) -> None:
    model, given = Fixed(), batch([0, 3], [5])
    losses, figures = supervision(beta=beta)(model, given, LABELS, seed=0)
    proposals, clip_map = model(given.images, given.valid_sizes, every_layer=False)
    logits, _ = EmbeddingModulation(alpha=10.0, beta=beta)(
        model.embed(proposals, clip_map, (8, 8)), LABELS, model.no_object_embed
    )
    direct = CRITERION(
        logits, proposals.iou, proposals.mask_logits, given.targets.labels, torch.ones(2, 2, 2, dtype=torch.bool)
    )
    assert {k: float(v.detach()) for k, v in losses.items()} == pytest.approx(
        {k: float(v.detach()) for k, v in direct.items()}
    )
    assert float(figures["label_proposals"]) == 2
    assert float(figures["layout_error"]) == pytest.approx(float(losses["mask_sum"].detach()) / 0.4)
    losses["loss"].backward()
    assert model.queries.grad.abs().sum() > 0
    assert model.masks.grad.abs().sum() > 0


def test_sampled_names_leave_the_labels_and_s_as_they_are() -> None:
    model, given = Fixed(), batch([1, 4], [5])
    every, _ = supervision()(model, given, LABELS, seed=0)
    few, _ = supervision(sampled_names=4)(model, given, LABELS, seed=0)
    assert float(few["loss"].detach()) < float(every["loss"].detach())  # fewer rivals
    same, _ = supervision(sampled_names=NAMES)(model, given, LABELS, seed=0)
    assert torch.equal(same["loss"], every["loss"])
    # A vocabulary of the sampled names alone, at the s of the whole one, gives the same.
    chosen = sample_names(given.targets.labels, NAMES, 4, 0)
    places = [torch.searchsorted(chosen, x) for x in given.targets.labels]
    alone, _ = supervision()(model, batch(*(p.tolist() for p in places)), LABELS.select(chosen), seed=0)
    assert float(alone["loss"].detach()) == pytest.approx(float(few["loss"].detach()))


def test_the_sample_holds_every_label_and_repeats_by_its_seed() -> None:
    labels = [torch.tensor([7, 2]), torch.tensor([2, 9])]
    chosen = sample_names(labels, 50, 10, seed=3)
    assert len(chosen) == 10
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert {2, 7, 9} <= set(chosen.tolist()) < set(range(50))
    assert torch.equal(chosen, sample_names(labels, 50, 10, seed=3))
    assert not torch.equal(chosen, sample_names(labels, 50, 10, seed=4))
    assert sample_names(labels, 50, 1, seed=3).tolist() == [2, 7, 9]


def test_less_than_one_name_a_step_is_refused() -> None:
    with pytest.raises(ValueError, match="sampled_names must be at least 1, or null for all, got 0"):
        supervision(sampled_names=0)
