"""Cosines where every further name has a score of 0.00."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from opsnet.inference.network_output import NetworkOutput
from opsnet.prediction.carriers import NameScore
from opsnet.structures import Proposals, TextBank
from opsnet.web_demo.cosines import clip_cosines, has_invisible_scores


def test_the_cosines_are_those_of_the_clip_embedding_with_each_names_text(named_map) -> None:
    top = (NameScore(1, 2, "<b>cat</b>", 0.999), NameScore(0, 1, "sea", 0.0049))
    hidden = dataclasses.replace(named_map.segments[1], top=top, proposal=3)
    shown = dataclasses.replace(hidden, id=1, top=(top[0], NameScore(0, 1, "sea", 0.005)))
    single = dataclasses.replace(hidden, id=3, top=top[:1])
    assert [has_invisible_scores(s) for s in (hidden, shown, single)] == [True, False, False]

    clip = torch.zeros(1, 4, 2)
    clip[0, 3] = torch.tensor([3.0, 4.0])
    proposals = Proposals(torch.zeros(1, 4, 1, 1), torch.zeros(1, 4, 2), torch.zeros(1, 4))
    output = NetworkOutput(proposals, {"pooling": clip}, (1, 1), ((1, 1),), ((1, 1),), (0,))
    embeds = torch.tensor([[1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])  # the cat has a synonym, which fits better
    bank = TextBank("mine", ("sea", "<b>cat</b>"), torch.tensor([False, True]), embeds, torch.tensor([0, 1, 1]))
    found = dataclasses.replace(named_map, segments=(shown, hidden, single))
    assert clip_cosines(output, found, bank) == {2: pytest.approx((0.8, 0.6))}
    assert clip_cosines(output, dataclasses.replace(found, segments=()), bank) == {}
