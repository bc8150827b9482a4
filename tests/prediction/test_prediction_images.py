"""Images in every form as pixels, and as the batch that the network receives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from opsnet.data.transforms import EvalTransform, as_image
from opsnet.prediction.images import NetworkSize, as_list, to_batch, to_pixels
from opsnet.utils.errors import InputError

PIXELS = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


def test_every_form_gives_the_same_pixels(tmp_path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    tensor = torch.from_numpy(PIXELS.copy()).permute(2, 0, 1)
    forms = [tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(PIXELS), PIXELS, tensor, tensor / 255]
    assert all(np.array_equal(to_pixels(form), PIXELS) for form in forms)


def test_grey_and_transparent_arrays() -> None:
    assert np.array_equal(to_pixels(PIXELS[..., 0]), np.repeat(PIXELS[..., :1], 3, axis=2))
    clear = np.concatenate([PIXELS, np.zeros((5, 4, 1), np.uint8)], axis=2)
    assert (to_pixels(clear) == 255).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("no.png", "image no.png does not exist: give image=PATH"),
        (PIXELS.astype(float), r"an array \(H, W, 3\) uint8 or a tensor .*, got float64 \(5, 4, 3\)"),
        (PIXELS[:0], r"must be \(H, W, 3\) and not empty, got \(0, 4, 3\)"),
        (PIXELS[..., :2], r"got \(5, 4, 2\)"),
        (torch.zeros(5, 4, 3), r"an image tensor must be \(3, H, W\), got \(5, 4, 3\)"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "uint8 or floats in 0..1, got torch.int64"),
        (7, "got int"),
    ],
)
def test_unsupported_images(image, message) -> None:
    with pytest.raises(InputError, match=message):
        to_pixels(image)


def test_one_or_several() -> None:
    assert as_list(PIXELS) == ([PIXELS], True)
    assert len(as_list(np.stack([PIXELS, PIXELS]))[0]) == 2
    assert as_list(["a.png", "b.png"]) == (["a.png", "b.png"], False)


def test_large_images_are_made_smaller_with_their_aspect_ratio() -> None:
    assert NetworkSize(longest=100).of(300, 200) == (100, 67)
    assert NetworkSize(longest=100).of(30, 20) == (30, 20)
    assert NetworkSize(longest=None).of(300, 200) == (300, 200)
    flat = np.full((100, 50, 3), 51, np.uint8)
    batch = to_batch([flat], size=NetworkSize(longest=40))
    assert batch.valid_sizes == [(40, 20)]
    assert batch.images.shape == (1, 3, 64, 32)
    torch.testing.assert_close(batch.images[0, :, :40, :20], torch.full((3, 40, 20), 0.2))
    assert not batch.images[0, :, 40:].any()


@pytest.mark.parametrize("size", [(48, 75), (600, 400), (1500, 1000), (333, 2000), (1, 1)])
@pytest.mark.parametrize(("shortest", "longest"), [(80, 133), (80, None), (64, 64)])
def test_batches_equal_those_of_evaluation(size, shortest: int, longest: int | None) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    expected, _ = EvalTransform(shortest=shortest, longest=longest)(
        as_image(pixels), tv_tensors.Mask(torch.zeros(size))
    )
    batch = to_batch([pixels], size=NetworkSize(shortest, longest))
    ((height, width),) = batch.valid_sizes
    assert (height, width) == tuple(expected.shape[1:])
    assert torch.equal(batch.images[0, :, :height, :width], expected.as_subclass(torch.Tensor) / 255)
    assert batch.original_sizes == [size]


def test_longest_takes_precedence_over_shortest() -> None:
    assert NetworkSize(800, 640).of(480, 320) == (640, 427)
