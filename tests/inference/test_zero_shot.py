"""A published Mask2Former with CLIP and no training: opsnet-predict model.weights=... modulation=clip_only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from mask2former_peer import OURS, SMALL, random_peer, resnet
from PIL import Image

from opsnet.inference.trained_model import load_zero_shot
from opsnet.prediction.predictor import Predictor
from opsnet.prediction.run import predict
from opsnet.segmenter.published.weight_files import WeightsError
from opsnet.utils.errors import InputError


@pytest.fixture(scope="module")
def peer() -> Any:
    return random_peer(resnet(depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 128], embedding_size=64), **SMALL)


@pytest.fixture
def config(compose, peer, tmp_path: Path) -> Any:
    """Overrides -> a configuration of opsnet-predict, with the peer's weights and an image on disk."""
    peer.save_pretrained(tmp_path / "peer")
    pixels = np.random.default_rng(0).integers(0, 255, (70, 45, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    given = [f"model.weights={tmp_path / 'peer'}", f"image={tmp_path / 'photo.png'}", "vocabulary='sea, tree'"]
    given += ["device=cpu", f"output={tmp_path / 'out'}", "overwrite=true"]
    return lambda *more: compose("predict", *OURS, *given, *more)


def test_masks_and_objectness_are_the_published_networks(config, peer) -> None:
    model = load_zero_shot(config(), device="cpu").model
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        proposals, _ = model(image)
        theirs = peer((image - model.backbone.mean) / model.backbone.std)
    torch.testing.assert_close(proposals.mask_logits, theirs.masks_queries_logits, atol=1e-4, rtol=1e-4)
    objectness = 1 - theirs.class_queries_logits.softmax(-1)[..., -1]
    torch.testing.assert_close(proposals.iou, objectness, atol=1e-4, rtol=1e-4)


def test_the_command_writes_named_segments(config, tmp_path: Path) -> None:
    answer = predict(config("filtering.threshold=0", "overlap=0")).last  # random masks hide one another
    data = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert [c["name"] for c in data["categories"]] == ["sea", "tree"]
    assert len(answer.segments) > 0
    assert all(s.iou == pytest.approx(s.score) for s in answer.segments)  # ranked by objectness alone


def test_its_own_settings_are_clip_alone_and_objectness(config) -> None:
    torch.manual_seed(0)  # of the random CLIP
    explicit = predict(config("filtering.threshold=0", "overlap=0")).last
    torch.manual_seed(0)
    own = predict(config("modulation=trained", "filtering=trained", "filtering.threshold=0", "overlap=0")).last
    assert torch.equal(own.ids, explicit.ids)
    assert own.segments == explicit.segments


def test_the_python_api_refuses_other_recognizers_too(config) -> None:
    predictor = Predictor(load_zero_shot(config(), device="cpu"))
    output = predictor.propose(np.zeros((64, 64, 3), np.uint8))
    assert len(predictor.name(output, "sea, tree")) == 1
    with pytest.raises(InputError, match="no trained query embeddings: choose modulation=clip_only"):
        predictor.name(output, "sea, tree", modulation="full")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["modulation=full"], "no trained query embeddings: choose modulation=clip_only"),
        (["checkpoint=a.ckpt"], "checkpoint and model.weights exclude each other"),
        (["model.weights=null"], "no network is given: give checkpoint=PATH .* or model.weights=PATH"),
    ],
)
def test_bad_input_is_one_sentence(overrides: list[str], message: str, config) -> None:
    with pytest.raises(InputError, match=message):
        predict(config(*overrides))


@pytest.mark.parametrize(
    ("override", "message"),
    [("model.weights=nowhere.pkl", "nowhere.pkl do not exist"), ("model.query_decoder.queries=8", "another size")],
)
def test_weights_that_do_not_fit(override: str, message: str, config) -> None:
    with pytest.raises(InstantiationException) as caught:  # the command prints its cause alone
        predict(config(override))
    assert isinstance(caught.value.__cause__, WeightsError)
    assert message in str(caught.value.__cause__)
