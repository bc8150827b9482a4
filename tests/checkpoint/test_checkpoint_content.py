"""What goes into a checkpoint."""

from __future__ import annotations

import pytest

from opsnet.checkpoint.content import portable_config
from opsnet.errors import InputError
from opsnet.inference_config import InferenceConfig
from opsnet.settings import parse_filtering
from opsnet.vocabulary import Vocabulary


@pytest.mark.parametrize(("world", "threshold", "overlap"), [("scenes", 0.4, 0.6), ("real", 0.8, 0.8)])
def test_a_checkpoint_carries_the_inference_config_of_its_world(
    world: str, threshold: float, overlap: float, compose
) -> None:
    cfg = compose("train", f"world={world}", "filtering=cls", "clip.model.weights=random")
    config = portable_config(cfg, Vocabulary.load("scenes"))
    inference = InferenceConfig.of(config)
    assert (inference.mask_filtering.threshold, inference.overlap) == (threshold, overlap)
    assert parse_filtering("cls", filters=inference.filters).threshold == threshold
    # The miniature is evaluated at the images' own size, COCO at 800 pixels.
    assert (inference.shortest, inference.longest) == ((None, 1333) if world == "scenes" else (800, 1333))


def test_the_filter_of_a_checkpoint_is_none_to_train_with(compose) -> None:
    cfg = compose("train", "filtering=trained", "clip.model.weights=random")
    with pytest.raises(InputError, match="filtering=trained is the filter of a checkpoint: choose one to train with"):
        portable_config(cfg, Vocabulary.load("scenes"))
