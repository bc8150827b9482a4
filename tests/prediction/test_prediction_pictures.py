"""Pictures in every form as pixels, and as the batch that the network sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from opsnet.errors import InputError
from opsnet.prediction.pictures import as_list, network_size, to_batch, to_pixels

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
    ("picture", "message"),
    [
        ("no.png", "image no.png does not exist: give image=PATH"),
        (PIXELS.astype(float), r"an array \(H, W, 3\) uint8 or a tensor .*, got float64 \(5, 4, 3\)"),
        (PIXELS[:0], r"must be \(H, W, 3\) and hold a pixel, got \(0, 4, 3\)"),
        (PIXELS[..., :2], r"got \(5, 4, 2\)"),
        (torch.zeros(5, 4, 3), r"a tensor must be \(3, H, W\), got \(5, 4, 3\)"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "uint8 or floats in 0..1, got torch.int64"),
        (7, "got int"),
    ],
)
def test_what_is_no_picture(picture, message) -> None:
    with pytest.raises(InputError, match=message):
        to_pixels(picture)


def test_one_or_several() -> None:
    assert as_list(PIXELS) == ([PIXELS], True)
    assert len(as_list(np.stack([PIXELS, PIXELS]))[0]) == 2
    assert as_list(["a.png", "b.png"]) == (["a.png", "b.png"], False)


def test_large_pictures_are_made_smaller_with_their_proportions() -> None:
    assert network_size(300, 200, 100) == (100, 67)
    assert network_size(30, 20, 100) == (30, 20)
    assert network_size(300, 200, None) == (300, 200)
    flat = np.full((100, 50, 3), 51, np.uint8)
    batch = to_batch([flat], longest=40)
    assert batch.valid_sizes == [(40, 20)]
    assert batch.images.shape == (1, 3, 64, 32)
    torch.testing.assert_close(batch.images[0, :, :40, :20], torch.full((3, 40, 20), 0.2))
    assert not batch.images[0, :, 40:].any()
