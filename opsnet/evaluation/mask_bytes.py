"""Mask logits as few bytes: to the bit, or rounded.

========= ============================================================================================================
``exact`` the bytes of the numbers, plane by plane: sign and exponent of smooth masks compress well, fractions hardly
``fp16``  half precision, the same way
``int8``  sixteenths of a logit, in -8..8: probabilities within 0.008 of what they were
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
_STEPS = 16.0  # of int8, a logit


def pack(logits: Tensor, kind: str) -> tuple[list[Tensor], dict[str, Any]]:
    """Logits of any shape -> one-dimensional uint8 tensors, and what :func:`unpack` must know."""
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
    """What was packed, in its own type; rounded where ``about`` says so.

    Raises:
        ValueError: the bytes are not what was packed.
    """
    kept = {"exact": about["dtype"], "fp16": "float16", "int8": "int8"}[about["kind"]]
    count, planes = int(np.prod(about["shape"], dtype=np.int64)), []
    for data, deflated in zip(packed, about["deflated"], strict=True):
        raw = _inflated(data) if deflated else data
        if len(raw) != count:
            raise ValueError(f"a plane holds {len(raw)} bytes instead of {count}")
        planes.append(raw)
    values = torch.stack(planes, dim=1).view(getattr(torch, kept)).view(about["shape"])
    if kept == "int8":
        values = values / _STEPS
    wanted: torch.dtype = getattr(torch, about["dtype"])
    return values.to(wanted)


def _deflated(plane: Tensor) -> tuple[Tensor, bool]:
    """A plane compressed, or as it is where that is no smaller."""
    packed = zlib.compress(plane.numpy().tobytes(), _LEVEL)
    if len(packed) < len(plane):
        return torch.frombuffer(bytearray(packed), dtype=torch.uint8), True
    return plane, False


def _inflated(data: Tensor) -> Tensor:
    try:
        return torch.frombuffer(bytearray(zlib.decompress(data.numpy().tobytes())), dtype=torch.uint8)
    except zlib.error as error:
        raise ValueError(str(error)) from error
