"""OPSNet: segment everything in a picture and name it with any words. ``opsnet.load`` is where Python users begin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opsnet.prediction.predictor import Predictor, load

__all__ = ["Predictor", "load"]


def __getattr__(name: str) -> Any:
    """Imports PyTorch and the rest when they are first used: every command imports this file."""
    if name in __all__:
        from opsnet.prediction import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module 'opsnet' has no attribute '{name}'")
