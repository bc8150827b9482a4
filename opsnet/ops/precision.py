"""Runs parts of the network in fp32 while the rest runs under autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def widened(x: Tensor) -> Tensor:
    """Converts half precision to fp32; leaves fp64 unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def full_precision(like: Tensor) -> AbstractContextManager[Any]:
    """Disables autocast for the device of ``like``; the caller has to convert the inputs to fp32.

    Does nothing if autocast is already off (ONNX has no operation for the switch in an exported graph) or if the device
    has no autocast, such as "meta".
    """
    device = like.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)
