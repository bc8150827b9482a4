"""Every block of docs/api.md runs, one after the other, as a reader would run them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from published_files import fcclip_state, small_network, write_clip_config, write_pth

DOCS = Path(__file__).parent.parent / "docs"


def blocks(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_blocks_run(lenient_checkpoint: Path, world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(lenient_checkpoint, tmp_path / "last.ckpt")
    shutil.copy(next((world.data / "scenes_0" / "scenes" / "test").glob("*.png")), tmp_path / "photo.png")
    write_pth(fcclip_state(small_network("convnext")), tmp_path / "fcclip.pth")
    write_clip_config("convnext", tmp_path).rename(tmp_path / "open_clip_config.json")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    found = blocks(DOCS / "api.md")
    for number, block in enumerate(found, start=1):
        exec(compile(block, f"block {number} of docs/api.md", "exec"), names)
    assert len(found) == 8
    assert (names["summed"].ids > 0).all()
    assert names["second"].vocabulary.names == ("red circle", "sea", "boat")
    assert (tmp_path / "fcclip" / "clip.safetensors").is_file()
    assert names["named"].vocabulary.names == ("red circle", "blue square", "sea")
    assert names["same"].train_vocabulary == names["predictor"].train_vocabulary
