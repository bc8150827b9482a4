"""OPSNet: segments everything in an image and labels it with any class names. Python users call ``opsnet.load``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opsnet.evaluation.score import score
    from opsnet.prediction.carriers import PanopticResult
    from opsnet.prediction.naming import UnknownRule
    from opsnet.prediction.predictor import Predictor, load, load_clip
    from opsnet.prediction.saving import save_results
    from opsnet.vocabulary import Vocabulary

    __version__: str

__all__ = ["PanopticResult", "Predictor", "UnknownRule", "Vocabulary", "load", "load_clip", "save_results", "score"]

_MODULES = {
    "PanopticResult": "opsnet.prediction.carriers",
    "Predictor": "opsnet.prediction.predictor",
    "UnknownRule": "opsnet.prediction.naming",
    "Vocabulary": "opsnet.vocabulary",
    "load": "opsnet.prediction.predictor",
    "load_clip": "opsnet.prediction.predictor",
    "save_results": "opsnet.prediction.saving",
    "score": "opsnet.evaluation.score",
}


def __getattr__(name: str) -> Any:
    """Imports PyTorch only when it is needed, because every command imports this file."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    if name == "__version__":
        return _version()
    raise AttributeError(f"module 'opsnet' has no attribute '{name}'")


def __dir__() -> list[str]:
    """The public names, which need not be imported yet, for completion by Tab."""
    return sorted({*__all__, "__version__", *(name for name in globals() if name.startswith("__"))})


def _version() -> str:
    """The installed version; of a source tree that is not installed, the one in its pyproject.toml."""
    import re
    from importlib.metadata import PackageNotFoundError, version
    from pathlib import Path

    try:
        return version("opsnet")
    except PackageNotFoundError:
        project = Path(__file__).parent.parent / "pyproject.toml"
        text = project.read_text(encoding="utf-8") if project.is_file() else ""
        found = re.search(r'^name = "opsnet"\nversion = "(.+)"', text, re.MULTILINE)
        return found[1] if found else "0+unknown"
