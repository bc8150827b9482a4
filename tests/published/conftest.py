"""Small networks of FC-CLIP's design, written as published files once per module."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published_files import CLIPS, fcclip_state, small_network, write_clip, write_clip_config, write_pth

from opsnet.model import OPSNet


@dataclass(frozen=True)
class Published:
    """A network, its file in FC-CLIP's layout with the CLIP inside, and its CLIP's configuration and weights."""

    network: OPSNet
    file: Path
    config: Path
    clip: Path

    def open(self, path: Path | None = None, **options: Any) -> Any:
        """``opsnet.load`` of the file, or of another one of the same CLIP."""
        import opsnet

        return opsnet.load(path or self.file, clip=self.config, device="cpu", **options)


@pytest.fixture(scope="session", params=CLIPS)
def published(request, tmp_path_factory: pytest.TempPathFactory) -> Published:
    return _write(request.param, tmp_path_factory.mktemp(f"published_{request.param}"))


@pytest.fixture(scope="session")
def convnext(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return _write("convnext", tmp_path_factory.mktemp("published"))


def _write(kind: str, folder: Path) -> Published:
    network = small_network(kind)
    file = write_pth(fcclip_state(network), folder / "fcclip.pth")
    return Published(network, file, write_clip_config(kind, folder), write_clip(network, folder / "clip.pt"))


@pytest.fixture(scope="session")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
