"""A newcomer's first minutes: a fresh clone, and the two commands of README.md's start, with their time."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from pathlib import Path

import pytest
from documented import ROOT, lines

START = [line.text for line in lines(ROOT / "README.md") if line.place == "block"][:2]
FEW = "--smoke"  # `make run` as `make smoke` runs it


def test_the_start_is_two_commands() -> None:
    assert START[0] == "make run"
    assert START[1].startswith(".venv/bin/opsnet-predict checkpoint=runs/make_run_seed0/<date_time>/")


@pytest.mark.slow
def test_a_fresh_clone_goes_through_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the clone's own files. The environment is this one: `make venv` would need the network."""
    clone, start = tmp_path / "clone", time.monotonic()
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    (clone / ".venv").symlink_to(ROOT / ".venv")
    environment = {**os.environ, "PYTHONPATH": str(clone), "OPSNET_CACHE": str(tmp_path / "cache")}
    for name in ("OPSNET_DATA", "OPSNET_RUNS"):
        environment.pop(name, None)
    make = ["make", "-o", ".venv/.installed", *shlex.split(START[0])[1:], f"ARGS={FEW}"]  # -o: it is up to date
    said = _run(make, clone, environment)
    assert "report.md" in said
    (checkpoint,) = clone.glob("runs/*/*/opsnet/checkpoints/last.ckpt")
    # The shortened world is elsewhere under data/, and has fewer images.
    scene = next(clone.glob("data/**/scenes_novel/test/*.png"))
    line = START[1].replace("runs/make_run_seed0/<date_time>/opsnet/checkpoints/last.ckpt", str(checkpoint))
    line = re.sub(r"image=\S+", f"image={scene}", line)
    _run(shlex.split(line), clone, environment)
    (overlay,) = clone.glob("runs/predict/*/*_overlay.png")
    assert overlay.name == f"{scene.stem}_overlay.png"
    with capsys.disabled():
        print(f"\nfresh clone, README.md's two commands ({FEW}): {(time.monotonic() - start) / 60:.1f} minutes")


def _run(words: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (shlex.join(words), done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout
