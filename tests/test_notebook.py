"""docs/notebooks/first_image.ipynb: its cells run, in small, in a process of their own, without network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documented import ROOT
from small_training import SMALL

NOTEBOOK = ROOT / "docs" / "notebooks" / "first_image.ipynb"
CLIP_OPTIONS = ["stage_steps=[2,1]", "prepare.count=64", "batch_size=8", "warmup=1"]
COUNTS = {"train": 32, "val": 8, "test": 24, "labels": 8}  # the notebook's image is number 22
OPTIONS = [*SMALL, *(f"++data.module.prepare.{key}={value}" for key, value in COUNTS.items())]


def cells(kind: str) -> list[str]:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPSNET_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    for name in ("OPSNET_DATA", "OPSNET_RUNS"):
        environment.pop(name, None)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_it_is_stored_without_outputs() -> None:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    for cell in content["cells"]:
        assert re.fullmatch(r"[\w-]{1,64}", cell["id"])
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            compile("".join(cell["source"]), "cell", "exec")


def test_it_is_honest() -> None:
    text = " ".join(" ".join(cells("markdown")).split())
    assert "Nobody has published trained weights of OPSNet" in text
    assert "drawn scenes only" in text


@pytest.mark.slow
def test_its_cells_run(tmp_path: Path) -> None:
    code = "\n\n".join(cells("code"))
    for name, value in {"CLIP_OPTIONS": CLIP_OPTIONS, "OPTIONS": OPTIONS}.items():
        code, count = re.subn(rf"^{name} = .*$", lambda _, n=name, v=value: f"{n} = {v!r}", code, flags=re.MULTILINE)
        assert count == 1
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "runs" / "first_image" / "checkpoints" / "last.ckpt").is_file()
    assert len(re.findall(r"^.* -> \[.*\]$", done.stdout, re.MULTILINE)) == 3  # three lists of names, one proposal


@pytest.mark.slow
def test_weights_of_ones_own_are_used(lenient_checkpoint: Path, world, tmp_path: Path) -> None:
    image = next((world.data / "scenes_0" / "scenes_novel" / "test").glob("*.png"))
    code = "\n\n".join(cells("code")).replace('CHECKPOINT = ""', f"CHECKPOINT = {str(lenient_checkpoint)!r}")
    code = re.sub(r"^IMAGE = .*$", f"IMAGE = {str(image)!r}", code, flags=re.MULTILINE)
    done = run(code + "\n\nprint(overlay.size, len(result.segments))", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not (tmp_path / "runs").exists()
    assert re.search(r"^\(480, 480\) \d+$", done.stdout, re.MULTILINE)
    assert len(re.findall(r"^.* -> \[.*\]$", done.stdout, re.MULTILINE)) == 3
