"""Compresses mask logits, losslessly or rounded.

========= ============================================================================================================
``exact`` lossless, byte plane by byte plane: sign and exponent of smooth masks compress well, mantissas hardly
``fp16``  half precision, compressed in the same way
``int8``  steps of 1/16 logit in -8..8: probabilities change by at most 0.008
========= ============================================================================================================
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

KINDS = ("exact", "fp16", "int8")
_LEVEL = 1  # higher levels take several times as long for a few percent
_STEPS = 16.0  # int8 steps per logit


def pack(logits: Tensor, kind: str) -> tuple[list[Tensor], dict[str, Any]]:
    """Logits of any shape -> one-dimensional uint8 tensors, and the metadata that :func:`unpack` needs."""
    values = logits.detach().cpu().contiguous()
    if kind == "fp16":
        values = values.half()
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
    """
    stored = {"exact": about["dtype"], "fp16": "float16", "int8": "int8"}[about["kind"]]
    count, planes = int(np.prod(about["shape"], dtype=np.int64)), []
    for data, deflated in zip(packed, about["deflated"], strict=True):
        raw = _inflated(data) if deflated else data
        if len(raw) != count:
            raise ValueError(f"a plane holds {len(raw)} bytes instead of {count}")
        planes.append(raw)
    values = torch.stack(planes, dim=1).view(getattr(torch, stored)).view(about["shape"])
    if stored == "int8":
        values = values / _STEPS
    dtype: torch.dtype = getattr(torch, about["dtype"])
    return values.to(dtype)


def _deflated(plane: Tensor) -> tuple[Tensor, bool]:
    """The plane compressed, or unchanged if compression does not make it smaller."""
    packed = zlib.compress(plane.numpy().tobytes(), _LEVEL)
    if len(packed) < len(plane):
        return torch.frombuffer(bytearray(packed), dtype=torch.uint8), True
    return plane, False


def _inflated(data: Tensor) -> Tensor:
    try:
        return torch.frombuffer(bytearray(zlib.decompress(data.numpy().tobytes())), dtype=torch.uint8)
    except zlib.error as error:
        raise ValueError(str(error)) from error
