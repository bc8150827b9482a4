"""Images in every form as pixels, and as the batch that the network receives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from opsnet.data.transforms import EvalTransform, as_image
from opsnet.prediction.images import NetworkSize, SourceImage, to_batch, to_pixels
from opsnet.utils.errors import InputError

PIXELS = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


def test_every_form_gives_the_same_pixels(tmp_path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    tensor = torch.from_numpy(PIXELS.copy()).permute(2, 0, 1)
    content = (tmp_path / "a.png").read_bytes()
    paths = [tmp_path / "a.png", str(tmp_path / "a.png"), content, bytearray(content), memoryview(content)]
    arrays = [PIXELS, PIXELS / 255, (PIXELS / 255).astype(np.float32), PIXELS[:, ::-1][:, ::-1]]
    tensors = [tensor, tensor / 255, tensor.double() / 255, (tensor / 255).requires_grad_()]
    for form in [*paths, Image.fromarray(PIXELS), *arrays, *tensors, SourceImage("a.png", PIXELS)]:
        assert np.array_equal(to_pixels(form), PIXELS), type(form)


def test_grey_and_transparent_arrays_and_tensors() -> None:
    grey = np.repeat(PIXELS[..., :1], 3, axis=2)
    for form in (PIXELS[..., 0], PIXELS[..., :1], torch.from_numpy(PIXELS[..., 0].copy())[None]):
        assert np.array_equal(to_pixels(form), grey)
    clear = np.concatenate([PIXELS, np.zeros((5, 4, 1), np.uint8)], axis=2)
    assert (to_pixels(clear) == 255).all()
    assert (to_pixels(torch.from_numpy(clear).permute(2, 0, 1)) == 255).all()


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "LA", "La", "RGBa"]
)
def test_pil_images_of_every_mode(mode: str) -> None:
    image = Image.new(mode, (4, 5))
    pixels = to_pixels(image)
    assert (pixels.shape, pixels.dtype) == ((5, 4, 3), np.uint8)


def test_a_pil_image_is_rotated_by_its_exif_orientation() -> None:
    image = Image.new("RGB", (40, 20))
    image.paste((255, 0, 0), (0, 0, 10, 20))
    image.getexif()[0x0112] = 6  # its left becomes the top
    pixels = to_pixels(image)
    assert pixels.shape == (40, 20, 3)
    assert (pixels[:10, :, 0] == 255).all() and (pixels[10:] == 0).all()


NAN = PIXELS / 255
NAN[0, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("no.png", "image no.png does not exist: give image=PATH"),
        ("n" * 300, "n does not exist"),
        ("a\0.png", "does not exist"),
        (".", r"image \. is a folder: give it alone, or list its images"),
        (b"not an image", r"image of 12 bytes cannot be read as an image \(its format is unknown\)"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), "image of 38 bytes cannot be read as an image"),
        (PIXELS.astype(float), r"floats must lie in 0\.\.1, got 0 to 59: scale it, or convert it to uint8"),
        (PIXELS / 255 - 0.5, r"got -0\.5 to -0\.26"),
        (NAN, r"floats must lie in 0\.\.1, and this one has NaN"),
        (torch.from_numpy(NAN).permute(2, 0, 1), "has NaN"),
        (torch.full((3, 4, 4), 255.0), r"floats must lie in 0\.\.1, got 255 to 255"),
        (PIXELS.astype(np.uint16), r"uint8 or floats in 0\.\.1, got uint16"),
        (PIXELS > 3, r"got bool"),
        (PIXELS[:0], r"must be \(H, W, 3\), .* and not empty, got \(0, 4, 3\)"),
        (PIXELS[..., :2], r"got \(5, 4, 2\)"),
        (torch.zeros(5, 4, 3), r"an image tensor must be \(3, H, W\), got \(5, 4, 3\): call \.permute\(2, 0, 1\)"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), r"uint8 or floats in 0\.\.1, got int64"),
        (Image.new("F", (4, 4)), "mode F .*floating-point numbers of unknown range: convert it to 8 bits"),
        (7, "an image must be a path, an address, .* got int"),
        (None, "got NoneType"),
    ],
)
def test_unsupported_images(image, message) -> None:
    with pytest.raises(InputError, match=message):
        to_pixels(image)


def test_an_array_with_channels_first_says_how_to_turn_it() -> None:
    with pytest.raises(InputError, match=r"got \(3, 50, 40\): call \.transpose\(1, 2, 0\)"):
        to_pixels(np.zeros((3, 50, 40), np.uint8))


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
