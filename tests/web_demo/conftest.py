"""A map of two segments, and a predictor with a hardly trained checkpoint."""

from __future__ import annotations

import pytest
import torch

from opsnet.prediction.carriers import NamedSegment, NameScore, PanopticResult
from opsnet.vocabulary import Concept, Vocabulary


@pytest.fixture
def named_map() -> PanopticResult:
    """6 x 8 pixels: sea left, a thing with a name that HTML would read as a tag right; the last line is void."""
    ids = torch.zeros(6, 8, dtype=torch.int64)
    ids[:5, :4], ids[:5, 4:] = 1, 2
    vocabulary = Vocabulary("mine", (Concept(1, "sea", False), Concept(2, "<b>cat</b>", True)))
    top = (NameScore(1, 2, "<b>cat</b>", 0.75), NameScore(0, 1, "sea", 0.2))
    segments = (
        NamedSegment(1, 0, False, 0.5, 20, 0.9, name="sea", box=(0, 0, 4, 5), top=(NameScore(0, 1, "sea", 0.6),)),
        NamedSegment(2, 1, True, 0.7, 20, 0.8, name="<b>cat</b>", box=(4, 0, 4, 5), top=top),
    )
    return PanopticResult(ids, segments, vocabulary)


@pytest.fixture(scope="session")
def predictor(lenient_checkpoint):
    from opsnet.prediction.predictor import load

    predictor = load(lenient_checkpoint, device="cpu")
    predictor.filtering.threshold = 0
    return predictor
