"""Compressed masks: lossless, or rounded within the documented error."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
import torch
import torch.nn.functional as F

from opsnet.evaluation.mask_bytes import pack, unpack


def smooth() -> torch.Tensor:
    coarse = 12 * torch.randn(1, 6, 4, 5, generator=torch.Generator().manual_seed(0)) - 6
    return F.interpolate(coarse, size=(40, 50), mode="bilinear")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_exact_is_lossless(dtype: torch.dtype) -> None:
    logits = smooth().to(dtype)
    logits[0, 0, 0, :6] = torch.tensor([0.0, -0.0, 1e-42, torch.inf, -torch.inf, torch.nan])
    found = unpack(*pack(logits, "exact"))
    assert found.dtype == dtype
    assert found.view(torch.uint8).equal(logits.contiguous().view(torch.uint8))


def test_the_layout_in_memory_does_not_matter() -> None:
    logits = smooth().contiguous(memory_format=torch.channels_last)
    assert torch.equal(unpack(*pack(logits, "exact")), logits)


def test_each_kind_is_smaller_than_the_one_before() -> None:
    sizes = [sum(map(len, pack(smooth(), kind)[0])) for kind in ("exact", "fp16", "int8")]
    assert smooth().nbytes > sizes[0] > sizes[1] > sizes[2] > 0


def test_fp16_and_int8_round() -> None:
    logits = torch.tensor([0.1, -7.97, 3.0, -100.0, 100.0])
    assert torch.equal(unpack(*pack(logits, "fp16")), logits.half().float())
    assert unpack(*pack(logits, "int8")).tolist() == [0.125, -8.0, 3.0, -8.0, 7.9375]
    assert (unpack(*pack(smooth(), "int8")).sigmoid() - smooth().sigmoid()).abs().max() <= 0.008


def test_no_masks() -> None:
    assert unpack(*pack(torch.zeros(1, 0, 4, 4), "exact")).shape == (1, 0, 4, 4)


def test_bytes_that_pack_did_not_write() -> None:
    planes, about = pack(smooth(), "exact")
    place = about["deflated"].index(True)
    damaged = [plane[:-3] if i == place else plane for i, plane in enumerate(planes)]
    with pytest.raises(ValueError, match="incomplete"):
        unpack(damaged, about)
    with pytest.raises(ValueError, match=r"holds \d+ bytes instead of 4"):
        unpack(planes, {**about, "shape": [4]})


def test_a_plane_that_inflates_to_more_than_its_shape_is_not_held() -> None:
    """9 MB of zeros, compressed, may be 9 GB: here 64 MB, of which five bytes are read."""
    bomb = torch.frombuffer(bytearray(zlib.compress(bytes(2**26))), dtype=torch.uint8)
    tracemalloc.start()
    with pytest.raises(ValueError, match="a plane holds 5 bytes instead of 4"):
        unpack([bomb], {"kind": "int8", "shape": [4], "dtype": "float32", "deflated": [True]})
    assert tracemalloc.get_traced_memory()[1] < 2**21
    tracemalloc.stop()


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [2**20, 2**10]}, {"shape": [-4]}, {"shape": [2.0]}, {"shape": 4}, {"dtype": "load"},
        {"dtype": ["float32"]}, {"kind": "zip"}, {"deflated": [True]}, {"deflated": []},
    ],
    ids=str,
)  # fmt: skip
def test_metadata_that_pack_did_not_write(change: dict) -> None:
    planes, about = pack(torch.rand(4), "exact")
    with pytest.raises((ValueError, KeyError, TypeError)):
        unpack(planes, {**about, **change})
