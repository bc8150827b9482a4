"""FrozenClip: both uses of one tiny CLIP."""

from __future__ import annotations

import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import nn

from opsnet.clip.architecture import uses_quick_gelu
from opsnet.clip.frozen_clip import FrozenClip
from opsnet.clip.loading import clip_hash
from opsnet.clip.tiny import tiny_clip
from opsnet.vocabulary import Vocabulary

SIZES = {"embed_dim": 24, "width": 4, "text_width": 8, "text_layers": 1, "heads": 4}


def make_clip(seed: int = 0, **options) -> FrozenClip:
    torch.manual_seed(seed)
    return FrozenClip(
        model=tiny_clip(**SIZES), tokenizer=SimpleTokenizer(context_length=12), templates=["{}", "a {}"], **options
    )


@pytest.fixture(scope="module")
def clip() -> FrozenClip:
    return make_clip()


def test_images_and_names_share_the_space(clip: FrozenClip) -> None:
    bank = clip.text_encoder(Vocabulary.load("red circle, green stripes"))
    assert clip.embed_dim == 24
    assert bank.embeds.shape == (2, 24)
    assert clip.image_encoder(torch.rand(1, 3, 64, 32)).shape == (1, 24, 8, 4)


def test_a_names_similarity_with_itself_is_one_whatever_stands_beside_it(clip: FrozenClip) -> None:
    alone = clip.text_encoder(Vocabulary.load("red circle")).embeds
    among = clip.text_encoder(Vocabulary.load("sky, a much longer name of a thing, red circle")).embeds
    assert (alone @ among.T)[0, 2].item() == pytest.approx(1, abs=1e-6)
    assert (alone @ among.T)[0, 0].item() < 0.999


def test_it_is_frozen_and_stays_in_evaluation_mode(clip: FrozenClip) -> None:
    model = nn.ModuleList([clip]).train()
    assert model.training
    assert not any(module.training for module in clip.modules())
    assert not any(parameter.requires_grad for parameter in clip.parameters())


def test_the_hash_is_that_of_the_model(clip: FrozenClip) -> None:
    assert clip.weights_hash == clip_hash(clip.text_encoder.clip)
    assert make_clip(seed=1).weights_hash != clip.weights_hash


def test_options_reach_the_encoders() -> None:
    clip = make_clip(pool_stride=16, mean=(0.1, 0.2, 0.3), std=(1, 2, 3))
    assert clip.image_encoder.for_pooling(torch.rand(1, 24, 8, 4), (64, 32)).shape == (1, 24, 4, 2)
    assert clip.image_encoder.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert clip.image_encoder.std.flatten().tolist() == [1, 2, 3]
    assert clip.text_encoder.templates == ("{}", "a {}")


def test_rn50_has_the_activation_that_openais_weights_were_trained_with(compose, tmp_path) -> None:
    """By name, and from a local file: open_clip has one registry entry a name, and the file's CLIP is built alike."""
    import open_clip
    from hydra.utils import instantiate

    cfg = compose("train", "clip=rn50", f"output={tmp_path}", "clip.model.weights=random").clip
    name, pretrained = cfg.model.architecture.model_name, cfg.model.architecture.pretrained
    assert pretrained == "openai"
    assert open_clip.get_pretrained_cfg(name, pretrained)["quick_gelu"]
    assert cfg.tokenizer.model_name == name
    cfg.model.architecture.pretrained = None
    assert uses_quick_gelu(instantiate(cfg.model))
