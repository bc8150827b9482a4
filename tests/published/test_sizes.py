"""Every published size is found from shapes; the networks have no numbers here (PyTorch's meta device)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mask2former_peer import in_detectron2s_layout, resnet, swin
from torch import Tensor
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

from opsnet.published.sizes import backbone_config, model_config
from opsnet.segmenter.backbone import Backbone
from opsnet.segmenter.published.layouts import convert
from opsnet.segmenter.published.weight_files import WeightsError

DEPTHS = [2, 2, 18, 2]
PUBLISHED: dict[str, Any] = {
    "resnet50.tv_in1k": resnet(),
    "resnet101.tv_in1k": resnet(depths=[3, 4, 23, 3]),
    "swin_tiny_patch4_window7_224": swin(),
    "swin_small_patch4_window7_224": swin(depths=DEPTHS),
    "swin_base_patch4_window12_384": swin(embed_dim=128, depths=DEPTHS, num_heads=[4, 8, 16, 32], window_size=12),
    "swin_large_patch4_window12_384": swin(embed_dim=192, depths=DEPTHS, num_heads=[6, 12, 24, 48], window_size=12),
}


def mask2former(backbone: Any, *, queries: int = 100, classes: int = 133) -> dict[str, Tensor]:
    """The names and shapes of a Mask2Former with the published decoders."""
    with torch.device("meta"):
        config = Mask2FormerConfig(backbone_config=backbone, num_queries=queries, num_labels=classes)
        return dict(Mask2FormerForUniversalSegmentation(config).state_dict())


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_mask2former(name: str) -> None:
    queries = 200 if "large" in name else 100
    state = mask2former(PUBLISHED[name], queries=queries)
    for layout in (state, in_detectron2s_layout(state)):
        weights = convert(layout).state
        config = backbone_config(weights)
        assert config["name"] == name
        arguments = {key: value for key, value in config.items() if key != "_target_"}
        with torch.device("meta"):
            built = {f"backbone.{key}": tensor.shape for key, tensor in Backbone(**arguments).state_dict().items()}
        stored = {key: tensor.shape for key, tensor in weights.items() if key.startswith("backbone.")}
        assert {key: shape for key, shape in built.items() if not key.endswith("num_batches_tracked")} == stored
        found = model_config(weights, is_open=False)
        assert {key: found["query_decoder"][key] for key in ("queries", "layers", "dim", "hidden", "heads")} == {
            "queries": queries, "layers": 9, "dim": 256, "hidden": 2048, "heads": 8,
        }  # fmt: skip
        assert found["query_decoder"]["classes"] == 133
        assert {key: found["pixel_decoder"][key] for key in ("layers", "hidden", "points", "mask_dim")} == {
            "layers": 6, "hidden": 1024, "points": 4, "mask_dim": 256,
        }  # fmt: skip


def test_unknown_backbones_are_refused() -> None:
    with pytest.raises(WeightsError, match="its ResNet has 2 blocks in the third stage, and not the 6 or 23"):
        backbone_config(convert(mask2former(resnet(depths=[2, 2, 2, 2]))).state)
    with pytest.raises(WeightsError, match="its Swin has 64 channels, 6 blocks and a window of 7, as no published one"):
        backbone_config(convert(mask2former(swin(embed_dim=64, num_heads=[2, 4, 8, 16]))).state)
    with pytest.raises(WeightsError, match="neither a ResNet nor a Swin"):
        backbone_config({"backbone.stem.weight": torch.zeros(1)})


def test_the_number_of_classes_is_that_of_the_file() -> None:
    state = convert(mask2former(swin(), classes=150)).state
    assert model_config(state, is_open=False)["query_decoder"]["classes"] == 150
    bare = {name: tensor for name, tensor in state.items() if "class_head" not in name}
    assert "classes" not in model_config(bare, is_open=False)["query_decoder"]
