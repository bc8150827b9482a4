"""Describes what CLIP's weights do not determine: activations, heads, strides. They change the embeddings.

For example, open_clip's ``RN50`` and ``RN50-quickgelu`` have the same weights, but only the second computes the
embeddings that OpenAI trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from torch import nn

_NO_OPS = (nn.Identity, nn.Dropout)  # in evaluation mode; libraries add and remove them between versions
_SETTINGS = (
    "num_heads", "kernel_size", "stride", "padding", "dilation", "groups", "eps", "approximate", "text_pool_type",
)  # fmt: skip


def describe_architecture(model: nn.Module) -> list[str]:
    """One line for each module whose computation is not determined by its weights, sorted by the module's name.

    A line holds the name, the class if the module has neither weights nor submodules (an activation or pooling),
    activations that are plain functions, and numbers such as heads and strides. Names are those of the state dict, and
    classes those of PyTorch and open_clip without their packages, so that the lines are the same on every machine and
    independent of a library's ``repr``.
    """
    return sorted(line for name, module in model.named_modules() for line in _lines(name, module))


def _lines(name: str, module: nn.Module) -> Iterator[str]:
    if isinstance(module, _NO_OPS):
        return
    has_own = any(True for _ in module.children()) or any(True for _ in module.state_dict(keep_vars=True))
    parts = [] if has_own else [type(module).__name__]
    values = vars(module)
    function = values.get("activation")
    if callable(function):
        parts.append(f"activation={getattr(function, '__name__', type(function).__name__)}")
    parts += [f"{key}={values[key]}" for key in _SETTINGS if isinstance(values.get(key), (int, float, str, tuple))]
    if parts:
        yield " ".join((name, *parts))


def architecture_hash(model: nn.Module) -> str:
    """Six hexadecimal digits of :func:`describe_architecture`."""
    return hashlib.sha256("\n".join(describe_architecture(model)).encode()).hexdigest()[:6]


def uses_quick_gelu(model: nn.Module) -> bool:
    """Whether any module uses OpenAI's QuickGELU, x sigmoid(1.702 x), instead of GELU."""
    return any(type(module).__name__ == "QuickGELU" for module in model.modules())
