"""Our CLIP against FC-CLIP's own code on a small model of its layout (skips where the published model is absent).

FC-CLIP builds OpenAI's ResNets with QuickGELU. ``clip_vis_dense`` is the last stage's map, before the attention pool;
``text_classifier`` has a row a name (synonyms have rows of their own) and the no-object embedding last.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from opsnet.clip.frozen_clip import FrozenClip
from opsnet.ops.normalization import inside_images
from opsnet.structures import SIZE_DIVISOR
from opsnet.vocabulary import Concept, Vocabulary

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "published_models" / "fcclip_small" / "rn50"
PREFIX = "backbone.clip_model."

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the published model is not at {FOLDER}")


@pytest.fixture(scope="module")
def about() -> dict[str, Any]:
    return json.loads((FOLDER / "about.json").read_text())


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in np.load(FOLDER / "expected.npz").items()}


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return torch.load(FOLDER / "model_final.pth", weights_only=True)["model"]


def build(about: dict[str, Any], state: dict[str, Tensor], **changes: Any) -> FrozenClip:
    from open_clip.model import CLIP
    from open_clip.tokenizer import SimpleTokenizer

    config = {**json.loads((FOLDER / "open_clip_config.json").read_text()), **changes}
    model: nn.Module = CLIP(**config)
    model.load_state_dict({k.removeprefix(PREFIX): v for k, v in state.items() if k.startswith(PREFIX)})
    mean, std = ([value / 255 for value in about[key]] for key in ("pixel_mean", "pixel_std"))
    return FrozenClip(model=model, tokenizer=SimpleTokenizer(), templates="vild14", mean=mean, std=std)


@pytest.fixture(scope="module")
def clip(about: dict[str, Any], state: dict[str, Tensor]) -> FrozenClip:
    return build(about, state)


@torch.no_grad()
def dense_features(clip: FrozenClip) -> tuple[Tensor, Tensor]:
    """The last stage's map and the adapted map of the published image, by our encoder."""
    image = torch.from_numpy(np.array(Image.open(FOLDER / "image.png").convert("RGB"))).permute(2, 0, 1) / 255
    height, width = image.shape[1:]
    padded = F.pad(image, [0, -width % SIZE_DIVISOR, 0, -height % SIZE_DIVISOR])[None]
    stages: list[Tensor] = []
    hook = clip.image_encoder.visual.layer4.register_forward_hook(lambda module, inputs, out: stages.append(out))
    adapted = clip.image_encoder(padded, inside_images([(height, width)], padded))
    hook.remove()
    return stages[0], adapted


def test_dense_features_are_fc_clips(clip: FrozenClip, expected: dict[str, Tensor]) -> None:
    last_stage, adapted = dense_features(clip)
    dense = expected["clip_vis_dense"]
    torch.testing.assert_close(last_stage, dense, rtol=0, atol=1e-4)
    pool = clip.image_encoder.visual.attnpool
    with torch.no_grad():  # its two projections, place by place
        projected = pool.c_proj(pool.v_proj(dense.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
    torch.testing.assert_close(adapted, projected, rtol=0, atol=1e-4)


def test_text_embeddings_are_fc_clips(
    clip: FrozenClip, about: dict[str, Any], state: dict[str, Tensor], expected: dict[str, Tensor]
) -> None:
    names = [text.split(",") for text in about["test_names"]]
    words = Vocabulary("test", tuple(Concept(i, n[0], True, tuple(n[1:])) for i, n in enumerate(names)))
    bank = clip.text_encoder(words)
    no_object = F.normalize(state["void_embedding.weight"].float(), dim=-1)
    torch.testing.assert_close(torch.cat([bank.embeds, no_object]), expected["text_classifier"], rtol=0, atol=1e-4)
    assert bank.concept is not None
    assert bank.concept.bincount().tolist() == about["num_templates"][: len(names)]


def test_with_gelu_the_text_embeddings_are_others(
    about: dict[str, Any], state: dict[str, Tensor], expected: dict[str, Tensor]
) -> None:
    with_gelu = build(about, state, quick_gelu=False)
    embeds = with_gelu.text_encoder(Vocabulary.load("cat")).embeds
    assert (embeds[0] - expected["text_classifier"][0]).abs().max() > 1e-3
