"""The frozen image encoder on a ResNet of a few weights with CLIP's structure."""

from __future__ import annotations

import weakref
from types import SimpleNamespace

import pytest
import torch
from openai_clip import small_clip
from torch import Tensor, nn

from opsnet.clip.image_encoder import ClipImageEncoder


class Pool(nn.Module):
    """What the encoder reads of an attention pool."""

    def __init__(self) -> None:
        super().__init__()
        self.v_proj, self.c_proj = nn.Linear(4, 4), nn.Linear(4, 6)


class Tower(nn.Module):
    """Stride 8, with batch norm and dropout, whose mode matters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1, self.act1 = nn.Conv2d(3, 4, 2, stride=2), nn.BatchNorm2d(4), nn.ReLU()
        self.conv2, self.bn2, self.act2 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU()
        self.conv3, self.bn3, self.act3 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU()
        self.avgpool = nn.AvgPool2d(2)
        self.layer1, self.layer2 = nn.Conv2d(4, 4, 2, stride=2), nn.Dropout(0.5)
        self.layer3, self.layer4 = nn.ReLU(), nn.Identity()
        self.attnpool = Pool()

    def forward(self, images: Tensor) -> Tensor:
        for conv, norm, act in (("conv1", "bn1", "act1"), ("conv2", "bn2", "act2"), ("conv3", "bn3", "act3")):
            images = getattr(self, act)(getattr(self, norm)(getattr(self, conv)(images)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.avgpool(images)))))
        return self.attnpool.c_proj(self.attnpool.v_proj(x.mean((-2, -1))))


def make_encoder(**options) -> ClipImageEncoder:
    torch.manual_seed(0)
    clip = nn.Module()
    clip.visual = Tower()
    return ClipImageEncoder(clip=clip, mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0), **options)


def test_the_map_keeps_the_trunks_resolution_at_any_size() -> None:
    encoder = make_encoder()
    assert encoder.embed_dim == 6
    assert encoder(torch.rand(2, 3, 32, 48)).shape == (2, 6, 4, 6)
    assert encoder(torch.rand(1, 3, 43, 8)).shape == (1, 6, 5, 1)


def test_images_are_normalised_as_clip_was() -> None:
    encoder = make_encoder()
    seen: list[Tensor] = []
    encoder.visual.conv1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    image = torch.tensor([1.0, 0.75, 0.5]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    encoder(image)
    encoder.embed_whole(image)
    for x in seen:
        assert x.unique(dim=-1).flatten(2).unique(dim=-1).flatten().tolist() == [1.0, 0.5, 0.25]
    assert len(seen) == 2


def test_the_whole_image_goes_through_clips_own_pool() -> None:
    encoder = make_encoder()
    image = torch.rand(2, 3, 16, 16)
    expected = encoder.visual((image - encoder.mean) / encoder.std)
    torch.testing.assert_close(encoder.embed_whole(image), expected)
    # This tower pools evenly, so that the average of the adapted map has to say the same.
    torch.testing.assert_close(encoder(image).mean((-2, -1)), expected)


def test_it_is_frozen() -> None:
    encoder = make_encoder()
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    image = torch.rand(1, 3, 16, 16, requires_grad=True)
    assert not encoder(image).requires_grad
    assert not encoder.embed_whole(image).requires_grad


def test_it_stays_in_evaluation_mode_inside_a_model_that_trains() -> None:
    encoder = make_encoder()
    model = nn.ModuleDict({"clip": encoder}).train()
    assert model.training
    assert not any(module.training for module in encoder.modules())
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    image = torch.rand(2, 3, 16, 16)
    assert torch.equal(encoder(image), encoder(image))  # no dropout
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())  # no statistics


@pytest.mark.parametrize(("size", "expected"), [((32, 64), (2, 4)), ((32, 40), (2, 2)), ((8, 8), (1, 1))])
def test_pool_stride_coarsens_the_map_for_mask_pooling_alone(size: tuple[int, int], expected: tuple[int, int]) -> None:
    encoder = make_encoder(pool_stride=16)
    features = encoder(torch.rand(1, 3, *size))
    assert features.shape == (1, 6, size[0] // 8, size[1] // 8)
    assert encoder.for_pooling(features, size).shape == (1, 6, *expected)


def test_a_cell_of_the_pooled_map_is_the_mean_of_its_four() -> None:
    encoder, features = make_encoder(pool_stride=16), torch.randn(1, 6, 4, 4)
    pooled = encoder.for_pooling(features, (32, 32))
    torch.testing.assert_close(pooled[:, :, 0, 1], features[:, :, 0:2, 2:4].mean((-2, -1)))


def test_without_pool_stride_the_map_stays_as_it_is() -> None:
    features = torch.randn(1, 6, 4, 4)
    assert torch.equal(make_encoder().for_pooling(features, (32, 32)), features)


def test_the_normalisation_is_not_saved() -> None:
    assert not {"mean", "std"} & set(make_encoder().state_dict())


def test_the_precision_is_its_own_where_one_is_set() -> None:
    image = torch.rand(1, 3, 16, 16)
    exact = make_encoder()(image)
    half = make_encoder(precision="bf16")(image)
    assert half.dtype == torch.float32
    assert 0 < (half - exact).abs().max() < 0.05 * exact.abs().max()
    assert make_encoder(precision="bf16").embed_whole(image).dtype == torch.float32
    assert not torch.equal(make_encoder(precision="bf16").embed_whole(image), make_encoder().embed_whole(image))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(make_encoder(precision="fp32")(image), exact)
        assert make_encoder()(image).dtype == torch.bfloat16  # follows the trainer
        assert torch.equal(make_encoder(precision="bf16")(image), half)
    with pytest.raises(ValueError, match="fp32, bf16 or null.*got 'fp16'"):
        make_encoder(precision="fp16")


def test_a_tower_without_attention_pool_is_refused() -> None:
    class VisionTransformer(nn.Module):
        pass

    with pytest.raises(ValueError, match="VisionTransformer has neither an attention pool.*such as clip=rn50"):
        ClipImageEncoder(clip=SimpleNamespace(visual=VisionTransformer()), mean=(0, 0, 0), std=(1, 1, 1))


# --- all maps in one pass ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["adapter", "attention"])
def test_the_pyramid_ends_in_the_map_of_the_forward_pass(pooling: str) -> None:
    encoder = ClipImageEncoder(clip=small_clip(), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), pooling=pooling)
    images = torch.rand(2, 3, 64, 96)
    inside = torch.zeros(2, 1, 64, 96)
    inside[:, :, :40, :50] = 1
    for padding in (None, inside):
        maps, clip_map = encoder.pyramid(images, padding)
        assert torch.equal(clip_map, encoder(images, padding))
        assert tuple(m.shape[1] for m in maps) == encoder.channels
        assert not any(m.requires_grad for m in maps)
        expected = maps[-1] if pooling == "attention" else encoder.pooling.adapter(maps[-1])
        assert torch.equal(clip_map, expected)
    assert clip_map.shape[1] == encoder.map_dim == {"adapter": 24, "attention": 256}[pooling]
    assert encoder.embed_dim == 24


def test_the_maps_have_the_encoders_precision() -> None:
    encoder, image = make_encoder(precision="bf16"), torch.rand(1, 3, 16, 16)
    maps, clip_map = encoder.pyramid(image)
    assert {m.dtype for m in (*maps, clip_map)} == {torch.float32}
    assert not torch.equal(maps[0], make_encoder().pyramid(image)[0][0])
    with torch.autocast("cpu", torch.bfloat16):
        assert make_encoder().pyramid(image)[0][-1].dtype == torch.bfloat16


def test_the_forward_pass_keeps_no_map_of_a_stage_alive() -> None:
    """At 800 x 1333 pixels a ConvNeXt-L's maps are 90 MB an image, which a separate backbone has no use for."""
    encoder = ClipImageEncoder(clip=small_clip(), mean=(0, 0, 0), std=(1, 1, 1))
    first: list[weakref.ref[Tensor]] = []
    alive: list[bool] = []
    encoder.visual.layer1.register_forward_hook(lambda _, __, output: first.append(weakref.ref(output)))
    encoder.visual.layer4.register_forward_hook(lambda *_: alive.append(first[-1]() is not None))
    encoder(torch.rand(1, 3, 64, 64))
    encoder.pyramid(torch.rand(1, 3, 64, 64))
    assert alive == [False, True]


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match="clip.pooling must be one of adapter, project_after, attention, or null"):
        make_encoder(pooling="mean")
