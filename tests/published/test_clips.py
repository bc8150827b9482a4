"""The CLIP of a published network: found by sizes, chosen by name, or described by a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from published_files import CONVNEXT, PUBLISHED, RESNET, fcclip_network, fcclip_state
from torch import Tensor

from opsnet.checkpoint.allowed_targets import IN_FOLDER
from opsnet.clip.loading import ClipWeightsError
from opsnet.published.clips import clip_config, clip_inside
from opsnet.segmenter.published.layouts import convert
from opsnet.segmenter.published.weight_files import WeightsError

# open_clip's name, option of conf/clip, tensors of CLIP, channels of the finest and the coarsest map, D.
FCCLIPS = [
    ("RN50", "rn50", 489, (256, 2048), 1024),
    ("RN101", "rn101", 795, (256, 2048), 512),
    ("RN50x4", "rn50x4", 669, (320, 2560), 640),
    ("RN50x16", "rn50x16", 921, (384, 3072), 768),
    ("RN50x64", "rn50x64", 1353, (512, 4096), 1024),
    ("convnext_base_w_320", "convnext_base_w_320", 493, (128, 1024), 640),
    ("convnext_large_d_320", "convnext_large_d_320", 543, (192, 1536), 768),
]


def of_size(architecture: str) -> dict[str, Tensor]:
    """The names and shapes of FC-CLIP with one of open_clip's architectures."""
    from open_clip import get_model_config
    from open_clip.model import CLIP

    with torch.device("meta"):
        clip = CLIP(**get_model_config(architecture))
        pooling = "project_after" if "convnext" in architecture else "attention"
        return fcclip_state(fcclip_network(clip, pooling, **PUBLISHED))


@pytest.mark.parametrize(("architecture", "option", "tensors", "channels", "dim"), FCCLIPS)
def test_every_published_fcclip_finds_its_clip(architecture, option, tensors, channels, dim) -> None:
    source = of_size(architecture)
    decoder = {name: tensor for name, tensor in source.items() if not name.startswith("backbone.clip_model.")}
    assert len(source) - len(decoder) == tensors
    assert decoder["sem_seg_head.pixel_decoder.adapter_1.weight"].shape == (256, channels[0], 1, 1)
    assert decoder["sem_seg_head.pixel_decoder.input_proj.0.0.weight"].shape == (256, channels[1], 1, 1)
    assert decoder["sem_seg_head.predictor.class_embed.layers.2.weight"].shape == (dim, 256)
    assert decoder["sem_seg_head.predictor.query_feat.weight"].shape == (250, 256)
    for state in (source, decoder):
        found = clip_config(None, convert(state).state, is_open=True, weights=None)
        model = found["model"]["architecture"]
        assert model["model_name"] == (option if "convnext" in option else f"{architecture}-quickgelu")
        assert found["templates"] == "vild14"
        assert found["pooling"] == ("project_after" if "convnext" in option else "attention")
        assert found["model"]["weights"] == (IN_FOLDER if state is source else "builtin")
        assert ("pretrained" in model) is (state is decoder)  # nothing is downloaded for a file with the CLIP inside


def test_a_size_that_nobody_published_needs_its_configuration(convnext) -> None:
    state = convert(fcclip_state(convnext.network)).state
    with pytest.raises(WeightsError, match=r"its CLIP has 64 channels and D = 32, .* give clip=FILE"):
        clip_config(None, state, is_open=True, weights=None)
    found = clip_config(convnext.config, state, is_open=True, weights=None)
    assert found["model"]["architecture"]["config"] == CONVNEXT


def test_mask2former_takes_rn50_unless_another_is_named(tmp_path: Path) -> None:
    found = clip_config(None, {}, is_open=False, weights=None)
    assert found["model"]["architecture"]["model_name"] == "RN50-quickgelu"
    assert found["model"]["weights"] == "builtin"
    other = clip_config("rn101", {}, is_open=False, weights=tmp_path / "clip.pt")
    assert other["model"]["architecture"]["model_name"] == "RN101-quickgelu"
    assert other["model"]["weights"] == str(tmp_path / "clip.pt")
    assert "pretrained" not in other["model"]["architecture"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"model_cfg": {"text_cfg": {}}}', "[" * 100_000,
             '{"text_cfg": {"context_length": 77}, "vision_cfg": []}'],
)  # fmt: skip
def test_a_file_that_describes_no_clip(text, tmp_path: Path) -> None:
    (tmp_path / "clip.json").write_text(text)
    with pytest.raises(ClipWeightsError, match=r"clip\.json is not the configuration of an open_clip model"):
        clip_config(tmp_path / "clip.json", {}, is_open=False, weights=None)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ClipWeightsError, match="no CLIP 'vit': give one of convnext_base_w_320, .*, rn50"):
        clip_config("vit", {}, is_open=False, weights=None)


def test_the_clip_inside_must_be_the_configured_one(convnext, tmp_path: Path) -> None:
    state = convert(fcclip_state(convnext.network)).state
    config = clip_config(convnext.config, state, is_open=True, weights=None)
    own = convnext.network.clip.text_encoder.clip.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in clip_inside(config, state, "a").state_dict().items())
    for other in (RESNET, {**CONVNEXT, "embed_dim": 16}):
        (tmp_path / "other.json").write_text(json.dumps(other))
        config = clip_config(tmp_path / "other.json", state, is_open=True, weights=None)
        with pytest.raises(
            WeightsError, match=r"the CLIP in weights a is another one .*: give clip=NAME, or clip=FILE"
        ):
            clip_inside(config, state, "a")
