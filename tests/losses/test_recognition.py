"""The loss that trains a recognizer: which names it chooses, and what gets a gradient."""

from __future__ import annotations

import pytest
import torch

from opsnet.losses.context import segment_context
from opsnet.losses.point_sampling import StepSeeds
from opsnet.losses.recognition import Recognition
from opsnet.structures import UNNAMED, Batch, SegmentTargets
from opsnet.training.run import build_module
from opsnet.vocabulary import Vocabulary

NAMES = Vocabulary.load("scenes")
HELD_OUT = ("red circle", "purple heart", "purple checks")  # 0, 4 and 17


@pytest.fixture
def module(train_config, tmp_path):
    overrides = ["modulation=learned", f"held_out=[{','.join(HELD_OUT)}]"]
    torch.manual_seed(0)
    return build_module(train_config(tmp_path, *overrides), NAMES)


@pytest.fixture
def context(module):
    """Two images: one with a held-out and an ordinary segment, one without segments."""
    masks = torch.zeros(2, 96, 96, dtype=torch.bool)
    masks[0, :48], masks[1, 48:] = True, True
    targets = SegmentTargets([masks, masks[:0]], [torch.tensor([4, 5]), torch.tensor([], dtype=torch.int64)])
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    batch = Batch(images, [(96, 96)] * 2, [0, 1], "scenes", targets)
    module.model.train()
    return segment_context(
        batch, model=module.model, recognizer=module.recognizer, names=module.names.prepared(NAMES),
        matcher=module.matcher, seeds=StepSeeds.of(0, 0, batch.image_ids), learned=module.learned,
    )  # fmt: skip


def test_a_held_out_segment_has_no_name_for_the_queries(context) -> None:
    assert context.labels.tolist() == [UNNAMED, 3]
    assert context.name_labels.tolist() == [4, 5]
    assert context.named_matches == 1
    assert context.layers[-1].logits.shape[-1] == 15 + 1


def test_every_step_chooses_the_held_out_names_and_a_random_subset_of_the_others(context) -> None:
    torch.manual_seed(0)
    chosen = [Recognition._choose_names(context).tolist() for _ in range(40)]
    assert all({0, 4, 17} <= set(a) and a == sorted(a) for a in chosen)
    assert len({len(a) for a in chosen}) > 10
    assert min(map(len, chosen)) < 6 and max(map(len, chosen)) > 15


def test_segments_of_names_not_chosen_are_ignored(context) -> None:
    target = Recognition._target(context, torch.tensor([0, 4, 17]), torch.Size((2, 8)))
    image, proposal, row = context.matches[-1]
    assert [int(target[i, p]) for i, p in zip(image, proposal, strict=True)] == [[1, UNNAMED][int(r)] for r in row]
    assert int((target == 3).sum()) == 14  # no-object


def test_only_the_recognizer_gets_a_gradient(context, module) -> None:
    torch.manual_seed(1)
    Recognition(weight=1.0)(context).backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in module.recognizer.parameters())
    assert all(p.grad is None for p in module.model.parameters())


def test_nothing_held_out(train_config, tmp_path, context) -> None:
    from dataclasses import replace

    from opsnet.recognition.recognizer import prepare

    torch.manual_seed(3)
    every = context.names.target
    found = {len(Recognition._choose_names(replace(context, names=prepare(every, every)))) for _ in range(60)}
    assert min(found) >= 1


def test_a_batch_without_a_segment_that_is_asked_for(context, monkeypatch) -> None:
    monkeypatch.setattr(Recognition, "_choose_names", staticmethod(lambda context: torch.tensor([1, 2])))
    loss = Recognition(weight=1.0)(context)
    loss.backward()
    assert float(loss.detach()) == 0
    assert float(Recognition(weight=1.0, no_object_weight=0.1)(context).detach()) > 0
