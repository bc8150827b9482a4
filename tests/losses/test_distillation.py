"""Query distillation: zero initially, and it pulls the queries back to their initial classification."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from opsnet.losses.distillation import QueryDistillation
from opsnet.structures import Batch
from opsnet.training.run import build_module
from opsnet.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def model(train_config, tmp_path_factory):
    torch.manual_seed(0)
    cfg = train_config(tmp_path_factory.mktemp("distillation"))
    return build_module(cfg, Vocabulary.load("scenes")).model.eval()


@pytest.fixture
def context(model):
    """The context of a batch of two images."""
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    batch = Batch(images, [(96, 96), (60, 90)], [0, 1], "scenes")
    bank = model.clip.text_encoder(Vocabulary.load("scenes"))
    with torch.no_grad():
        proposals, clip_map = model(images, batch.valid_sizes)
    logits = model.training_logits(proposals, bank).detach()
    names = SimpleNamespace(train=bank)
    return SimpleNamespace(batch=batch, clip_map=clip_map, layers=[SimpleNamespace(logits=logits)], names=names)


def distillation(model) -> QueryDistillation:
    loss = QueryDistillation(weight=3.0)
    loss.setup(model)
    return loss


def test_the_loss_of_the_initial_network_is_zero(model, context) -> None:
    assert float(distillation(model)(context)) == pytest.approx(0, abs=1e-6)


def test_the_loss_is_the_divergence_weighted_by_the_predicted_iou(model, context) -> None:
    (layer,) = context.layers
    logits = layer.logits
    moved = (logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))).requires_grad_()
    layer.logits = moved
    loss = distillation(model)(context)
    with torch.no_grad():
        iou = model(context.batch.images, context.batch.valid_sizes)[0].iou
    expected = 0.0
    for i in range(2):
        each = F.kl_div(moved[i].log_softmax(-1), logits[i].softmax(-1), reduction="none").sum(-1)
        expected += float((iou[i] * each).sum().detach() / iou[i].sum()) / 2
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    loss.backward()
    assert moved.grad.abs().sum() > 0


def test_given_names_are_compared_instead_of_those_of_the_training(model, context) -> None:
    """The training has two names, of which no query changes; what happens to the others counts."""
    loss = QueryDistillation(weight=1.0, names="scenes")
    loss.setup(model)
    old = context.names.train
    with torch.no_grad():
        initial, _ = model(context.batch.images, context.batch.valid_sizes)
    noise = torch.randn(initial.query_embeds.shape, generator=torch.Generator().manual_seed(1))
    moved = (initial.query_embeds + 0.3 * noise * initial.query_embeds.std()).requires_grad_()
    context.names = SimpleNamespace(train=old.select(torch.tensor([0, 1])))
    context.layers = [SimpleNamespace(logits=model.training_logits(initial, context.names.train).detach())]
    context.model, context.proposals = model, replace(initial, query_embeds=moved)
    before, after = (model.training_logits(p, old).detach() for p in (initial, context.proposals))
    each = F.kl_div(after.log_softmax(-1), before.softmax(-1), reduction="none").sum(-1)
    expected = ((initial.iou * each).sum(1) / initial.iou.sum(1)).mean()
    assert expected > 0.01
    found = loss(context)
    assert float(found.detach()) == pytest.approx(float(expected), rel=1e-4)
    found.backward()
    assert moved.grad.abs().sum() > 0
    assert float(distillation(model)(context)) == pytest.approx(0, abs=1e-6)


def test_the_initial_network_is_a_copy_that_does_not_change(model) -> None:
    loss = distillation(model).train()
    assert not loss.start.training
    assert not any(p.requires_grad for p in loss.start.parameters())
    assert loss.start.clip is None
    before = model.no_object_embed.detach().clone()
    try:
        model.no_object_embed.data.add_(1.0)
        assert torch.equal(loss.start.no_object_embed, before)
    finally:
        model.no_object_embed.data.copy_(before)


def test_the_initial_network_is_neither_saved_nor_trained_but_moves_to_devices(model) -> None:
    loss = distillation(model)
    assert loss.state_dict() == {}
    assert list(loss.parameters()) == []
    loss.load_state_dict({})
    original = copy.deepcopy(loss.start.no_object_embed)
    assert loss.double().start.no_object_embed.dtype == torch.float64
    assert loss.to("meta").start.no_object_embed.is_meta
    assert torch.equal(model.no_object_embed, original)  # the other one stays where it is
