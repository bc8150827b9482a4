"""OPSNet: segments everything in an image and labels it with any class names. Python users call ``opsnet.load``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opsnet.prediction.predictor import Predictor, load, load_clip

__all__ = ["Predictor", "load", "load_clip"]


def __getattr__(name: str) -> Any:
    """Imports PyTorch only when it is needed, because every command imports this file."""
    if name in __all__:
        from opsnet.prediction import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module 'opsnet' has no attribute '{name}'")
