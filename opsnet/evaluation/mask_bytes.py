"""Compresses mask logits, losslessly or rounded.

========= ============================================================================================================
``exact`` lossless, byte plane by byte plane: sign and exponent of smooth masks compress well, mantissas hardly
``fp16``  half precision, compressed in the same way
``int8``  steps of 1/16 logit in -8..8: probabilities change by at most 0.008
========= ============================================================================================================
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import torch
from torch import Tensor

KINDS = ("exact", "fp16", "int8")
MAX_MASK_BYTES = 2**31
"""Most bytes of the mask logits of a batch in memory, so that a small file does not inflate to any size."""
_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}
_LEVEL = 1  # higher levels take several times as long for a few percent
_HALF = 65504.0  # largest number in half precision
_STEPS = 16.0  # int8 steps per logit


def pack(logits: Tensor, kind: str) -> tuple[list[Tensor], dict[str, Any]]:
    """Logits of any shape -> one-dimensional uint8 tensors, and the metadata that :func:`unpack` needs."""
    values = logits.detach().cpu().contiguous()
    if kind == "fp16":
        values = values.clamp(-_HALF, _HALF).half()
    elif kind == "int8":
        values = (values.float() * _STEPS).round().clamp(-128, 127).to(torch.int8)
    size = values.element_size()
    planes = values.flatten().view(torch.uint8).view(-1, size).T.contiguous()
    packed = [_deflated(plane) for plane in planes]
    more = {"kind": kind, "shape": list(logits.shape), "dtype": str(logits.dtype).removeprefix("torch.")}
    return [data for data, _ in packed], {**more, "deflated": [smaller for _, smaller in packed]}


def unpack(packed: list[Tensor], about: dict[str, Any]) -> Tensor:
    """The packed logits in their original dtype, rounded for the kinds ``fp16`` and ``int8``.

    Raises:
        ValueError: the bytes were not written by :func:`pack`.
        KeyError, TypeError: ``about`` was not.
    """
    dtype, shape = _DTYPES[about["dtype"]], about["shape"]
    stored = {"exact": dtype, "fp16": torch.float16, "int8": torch.int8}[about["kind"]]
    if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"{shape!r} is no shape")
    count = math.prod(shape)
    if count * dtype.itemsize > MAX_MASK_BYTES:
        raise ValueError(f"masks of {count} values are more than {MAX_MASK_BYTES // 2**20} MB")
    if not len(packed) == len(about["deflated"]) == stored.itemsize:
        raise ValueError(f"there are {len(packed)} planes instead of {stored.itemsize}")
    planes = torch.empty(count, stored.itemsize, dtype=torch.uint8)
    for place, (data, deflated) in enumerate(zip(packed, about["deflated"], strict=True)):
        raw = _inflated(data, count) if deflated else data
        if len(raw) != count:
            raise ValueError(f"a plane holds {len(raw)} bytes instead of {count}")
        planes[:, place] = raw
    values = planes.view(stored).view(shape)
    return (values / _STEPS if stored == torch.int8 else values).to(dtype)


def _deflated(plane: Tensor) -> tuple[Tensor, bool]:
    """The plane compressed, or unchanged if compression does not make it smaller."""
    packed = zlib.compress(plane.numpy().tobytes(), _LEVEL)
    if len(packed) < len(plane):
        return torch.frombuffer(bytearray(packed), dtype=torch.uint8), True
    return plane, False


def _inflated(data: Tensor, count: int) -> Tensor:
    """At most ``count`` + 1 bytes of a compressed plane, so that one that inflates to more is seen but not held."""
    reader = zlib.decompressobj()
    try:
        raw = reader.decompress(data.numpy().tobytes(), count + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not reader.eof and len(raw) <= count:
        raise ValueError("a compressed plane is incomplete")
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8) if raw else torch.empty(0, dtype=torch.uint8)
