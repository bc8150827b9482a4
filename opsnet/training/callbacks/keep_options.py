"""Stores a training's options in its checkpoints, so that a resumed run can be compared with them."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from opsnet.training.resume import training_options


class KeepOptions(Callback):
    """Adds the options that affect the result, see :func:`opsnet.training.resume.training_options`."""

    def __init__(self, cfg: DictConfig) -> None:
        self.options = training_options(cfg)

    def state_dict(self) -> dict[str, Any]:
        """Lightning stores it as ``callbacks["KeepOptions"]``."""
        return {"options": self.options}
