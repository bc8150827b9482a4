"""Parts of the network that run in fp32 while the rest runs under autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def widened(x: Tensor) -> Tensor:
    """Half precision -> fp32; fp64 stays."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def full_precision(like: Tensor) -> AbstractContextManager[Any]:
    """Autocast switched off for the device of ``like``; inputs have to be made fp32 by the caller.

    Nothing at all where autocast is off already (a switch inside an exported graph is no operation of ONNX), or where a
    device has none, such as "meta".
    """
    device = like.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)
