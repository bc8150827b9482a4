"""The distillation: nothing at the start, and it pulls the queries back to their names."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from opsnet.structures import Batch
from opsnet.training.distillation import QueryDistillation
from opsnet.training.run import build_module
from opsnet.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def model(train_config, tmp_path_factory):
    torch.manual_seed(0)
    cfg = train_config(tmp_path_factory.mktemp("distillation"))
    return build_module(cfg, Vocabulary.load("scenes")).model.eval()


@pytest.fixture
def given(model):
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    batch = Batch(images, [(96, 96), (60, 90)], [0, 1], "scenes")
    bank = model.clip.text_encoder(Vocabulary.load("scenes"))
    with torch.no_grad():
        proposals, clip_map = model(images, batch.valid_sizes)
    return batch, clip_map, model.training_logits(proposals, bank).detach(), bank


def test_a_network_that_has_not_moved_loses_nothing(model, given) -> None:
    assert float(QueryDistillation(model, weight=1.0)(*given)) == pytest.approx(0, abs=1e-6)


def test_the_loss_is_the_divergence_weighed_by_the_predicted_iou(model, given) -> None:
    batch, clip_map, logits, bank = given
    moved = (logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))).requires_grad_()
    loss = QueryDistillation(model, weight=3.0)(batch, clip_map, moved, bank)
    with torch.no_grad():
        iou = model(batch.images, batch.valid_sizes)[0].iou
    expected = 0.0
    for i in range(2):
        each = F.kl_div(moved[i].log_softmax(-1), logits[i].softmax(-1), reduction="none").sum(-1)
        expected += float((iou[i] * each).sum() / iou[i].sum()) / 2
    assert float(loss.detach()) == pytest.approx(3 * expected, rel=1e-4)
    loss.backward()
    assert moved.grad.abs().sum() > 0


def test_the_network_of_the_start_is_a_copy_that_stays_as_it_is(model, given) -> None:
    distillation = QueryDistillation(model, weight=1.0).train()
    assert not distillation.initial.training
    assert not any(p.requires_grad for p in distillation.parameters())
    assert not [name for name in distillation.state_dict() if "clip." in name.removeprefix("initial.")[:5]]
    before = model.no_object_embed.detach().clone()
    try:
        model.no_object_embed.data.add_(1.0)
        assert torch.equal(distillation.initial.no_object_embed, before)
    finally:
        model.no_object_embed.data.copy_(before)


def test_a_weight_that_is_none_is_refused(model) -> None:
    with pytest.raises(ValueError, match="must be above 0, got 0"):
        QueryDistillation(model, weight=0)
