"""Cross-entropy, computed by hand."""

from __future__ import annotations

import math

import pytest
from segment_losses import no_targets, one_empty_target, perfect, squares, uncertain, value

from opsnet.losses.cross_entropy import CrossEntropy

LOSS = CrossEntropy(weight=2.0)


def test_all_names_equally_likely() -> None:
    # log 4 for any target and any weight.
    assert value(LOSS, [uncertain()], one_empty_target()) == pytest.approx(math.log(4))


@pytest.mark.parametrize("no_object_weight", [0.1, 0.5])
def test_no_object_counts_less(no_object_weight: float) -> None:
    layer = uncertain()
    layer.logits[0, :, 1] = math.log(5)  # both proposals predict name 1 with 5/8, no-object with 1/8
    found = value(CrossEntropy(weight=2.0, no_object_weight=no_object_weight), [layer], one_empty_target())
    assert found == pytest.approx((math.log(8 / 5) + no_object_weight * math.log(8)) / (1 + no_object_weight))


def test_perfect_predictions_cost_nearly_nothing() -> None:
    assert value(LOSS, [perfect(squares())], squares()) < 1e-3


def test_a_batch_without_segments_teaches_no_object() -> None:
    assert value(LOSS, [uncertain()], no_targets()) == pytest.approx(math.log(4))


def test_an_unknown_normalization_is_refused() -> None:
    with pytest.raises(ValueError, match="normalization must be 'rank' or 'global', got 'image'"):
        CrossEntropy(weight=2.0, normalization="image")
