"""Pixel decoder: shapes, order and dependencies."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from opsnet.segmenter.pixel_decoder import PixelDecoder, _centres

CHANNELS = (4, 6, 8, 10)  # strides 2 to 16
SIZES = ((16, 24), (8, 12), (4, 6), (2, 3))


def make_decoder(**options) -> PixelDecoder:
    torch.manual_seed(0)
    defaults = {"in_channels": CHANNELS, "dim": 16, "mask_dim": 5, "layers": 1, "heads": 2, "points": 2, "hidden": 8}
    return PixelDecoder(**{**defaults, **options}).eval()


def make_maps(sizes=SIZES) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(2, c, *size) for c, size in zip(CHANNELS, sizes)]


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_memory_is_coarsest_first_and_pixels_are_finest(levels: int) -> None:
    with torch.no_grad():
        features = make_decoder(encoder_levels=levels)(make_maps())
    assert [tuple(m.shape) for m in features.memory] == [(2, 16, *size) for size in SIZES[::-1][:levels]]
    assert features.pixels.shape == (2, 5, 16, 24)


def test_a_narrow_fpn_does_not_change_shapes() -> None:
    decoder = make_decoder(encoder_levels=2, fine_dim=8)
    with torch.no_grad():
        features = decoder(make_maps())
    assert features.pixels.shape == (2, 5, 16, 24)
    assert features.memory[0].shape[1] == 16
    assert decoder.mask_features.in_channels == 8


def test_odd_sizes() -> None:
    sizes = ((15, 23), (8, 12), (4, 6), (2, 3))
    with torch.no_grad():
        assert make_decoder()(make_maps(sizes)).pixels.shape == (2, 5, 15, 23)


@pytest.mark.parametrize("changed", range(4))
def test_the_encoder_mixes_its_levels_and_fine_maps_reach_the_pixels_only(changed: int) -> None:
    decoder, maps = make_decoder(encoder_levels=2), make_maps()
    with torch.no_grad():
        before = decoder(maps)
        maps[changed] = torch.randn_like(maps[changed])
        after = decoder(maps)
    coarse = changed >= 2
    assert [not torch.equal(a, b) for a, b in zip(before.memory, after.memory)] == [coarse, coarse]
    assert not torch.equal(before.pixels, after.pixels)


def test_images_of_a_batch_are_independent() -> None:
    decoder, maps = make_decoder(), make_maps()
    with torch.no_grad():
        together, alone = decoder(maps), decoder([m[1:] for m in maps])
    torch.testing.assert_close(together.pixels[1:], alone.pixels)
    torch.testing.assert_close(together.memory[0][1:], alone.memory[0])


def test_every_parameter_gets_a_gradient() -> None:
    decoder = make_decoder(layers=2, fine_dim=8)
    features = decoder(make_maps())
    (features.pixels.square().sum() + sum(m.square().sum() for m in features.memory)).backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None] == []


def test_centres_by_hand() -> None:
    expected = [[1 / 6, 0.25], [0.5, 0.25], [5 / 6, 0.25], [1 / 6, 0.75], [0.5, 0.75], [5 / 6, 0.75]]
    torch.testing.assert_close(_centres(2, 3, torch.device("cpu")), torch.tensor(expected))


@pytest.mark.parametrize("levels", [0, 5])
def test_encoder_levels_must_fit_the_backbone(levels: int) -> None:
    with pytest.raises(ValueError, match=rf"encoder_levels \({levels}\) must be 1 to the backbone's 4 maps"):
        make_decoder(encoder_levels=levels)


def test_checkpointing_changes_no_gradient() -> None:
    found = []
    for checkpointing in (False, True):
        decoder = make_decoder(layers=2, checkpointing=checkpointing).train()
        features = decoder(make_maps())
        (features.pixels.square().sum() + sum(m.square().sum() for m in features.memory)).backward()
        found.append([p.grad for p in decoder.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_nearly_constant_maps_cost_no_precision_in_channels_last() -> None:
    """As CLIP's trunk gives them in FC-CLIP's small RN50, whose masks were wrong by 0.4 of 40."""
    maps = [100 + m for m in make_maps(((32, 48), (16, 24), (8, 12), (4, 6)))]
    decoder = make_decoder(precision=None, norm_groups=16)
    with torch.no_grad():
        exact = decoder.double()([m.double() for m in maps])
        decoder = decoder.float().to(memory_format=torch.channels_last)
        features = decoder([m.contiguous(memory_format=torch.channels_last) for m in maps])
    for ours, theirs in zip((features.pixels, *features.memory), (exact.pixels, *exact.memory), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=1e-3)


def test_groups_of_the_norms() -> None:
    """Eight channels each by default, as Mask2Former's 32 of 256; a published network of another width has 32 too."""

    def groups(decoder: PixelDecoder) -> set[int]:
        return {m.num_groups for m in decoder.modules() if isinstance(m, torch.nn.GroupNorm)}

    assert groups(make_decoder(dim=256, layers=0)) == {32}
    assert groups(make_decoder()) == {2}
    assert groups(make_decoder(norm_groups=4)) == {4}
    assert groups(make_decoder(norm_groups=4, fine_dim=8)) == {4}
    with torch.no_grad():
        two, four = (make_decoder(norm_groups=count)(make_maps()).pixels for count in (2, 4))
        assert torch.equal(two, make_decoder()(make_maps()).pixels)
    assert not torch.allclose(two, four, atol=1e-3)
