"""Files of real size with random numbers load by their path alone; prints their memory (about three minutes)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mask2former_peer import in_detectron2s_layout
from published_files import write_pkl, write_pth
from test_clips import of_size
from test_sizes import PUBLISHED, mask2former
from torch import Tensor

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def filled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Random numbers of a size that keeps every map finite."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            found[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)
        elif tensor.ndim > 1:
            found[name] = torch.randn(tensor.shape, generator=generator) * 0.05
        else:
            found[name] = torch.full(tensor.shape, 1.0 if name.endswith(("weight", "running_var", "scale")) else 0.0)
    return found


def measured(capsys, *arguments: Path) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = [sys.executable, str(Path(__file__).with_name("real_size.py")), *map(str, arguments)]
    done = subprocess.run(script, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    size = sum(path.stat().st_size for path in arguments) / 2**20
    with capsys.disabled():
        print(f"\n{arguments[0].name}: {size:.0f} MiB; {found}")
    assert found["finite"]
    assert found["map"] == [640, 640]
    assert found["trunk_calls"] == 1
    return found


@pytest.mark.parametrize(("architecture", "clip"), [("RN50", "RN50-quickgelu"), ("convnext_large_d_320",) * 2])
def test_fcclip_with_its_clip_inside(architecture: str, clip: str, capsys, tmp_path: Path) -> None:
    path = write_pth(filled(of_size(architecture)), tmp_path / f"fcclip_{architecture}.pth")
    found = measured(capsys, path)
    assert found["masks"][1:] == [250, 160, 160]
    assert found["clip"] == clip
    assert found["recognizer"] == "GeometricEnsemble"
    assert found["gib_named"] < {"RN50": 4, "convnext_large_d_320": 8}[architecture]


def clip_weights(state: dict[str, Tensor], folder: Path) -> Path:
    prefix = "backbone.clip_model."
    torch.save({n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}, folder / "clip.pt")
    return folder / "clip.pt"


def test_fcclip_without_its_clip(capsys, tmp_path: Path) -> None:
    state = filled(of_size("RN50"))
    decoder = {name: tensor for name, tensor in state.items() if not name.startswith("backbone.")}
    path = write_pth(decoder, tmp_path / "fcclip_RN50_decoder.pth")
    found = measured(capsys, path, clip_weights(state, tmp_path))
    assert found["clip"] == "RN50-quickgelu"


def test_mask2former_swin_l(capsys, tmp_path: Path) -> None:
    shapes = in_detectron2s_layout(mask2former(PUBLISHED["swin_large_patch4_window12_384"], queries=200))
    path = write_pkl(filled(shapes), tmp_path / "mask2former_swin_l.pkl")
    found = measured(capsys, path, clip_weights(filled(of_size("RN50")), tmp_path))
    assert found["masks"][1:] == [200, 160, 160]
    assert found["recognizer"] == "ClipOnly"
