"""Every block of docs/api.md runs, one after the other, as a reader would run them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from published_files import fcclip_state, small_network, write_clip_config, write_pth

DOCS = Path(__file__).parent.parent / "docs"


def blocks(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def write_checkpoint(lenient: Path, path: Path) -> None:
    """A hardly trained network scores every mask near 0; with this filter it keeps them, as a trained one would."""
    checkpoint = torch.load(lenient, map_location="cpu", weights_only=False)
    checkpoint["opsnet"]["config"]["inference"]["filtering"]["threshold"] = 0.0
    torch.save(checkpoint, path)


def write_photos(folder: Path) -> None:
    """photos/ with three images of two sizes, and clip.mp4."""
    av = pytest.importorskip("av", reason="PyAV, the extra video, is not installed")
    with Image.open(folder / "photo.png") as photo:
        image = photo.convert("RGB")
    (folder / "photos").mkdir()
    for name, size in (("a", (96, 96)), ("b", (96, 96)), ("c", (60, 40))):
        image.resize(size).save(folder / "photos" / f"{name}.png")
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_image(image.resize((96, 96)))))
        container.mux(stream.encode())


def test_the_blocks_run(lenient_checkpoint: Path, world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(lenient_checkpoint, tmp_path / "last.ckpt")
    shutil.copy(next((world.data / "scenes_0" / "scenes" / "test").glob("*.png")), tmp_path / "photo.png")
    write_pth(fcclip_state(small_network("convnext")), tmp_path / "fcclip.pth")
    write_clip_config("convnext", tmp_path).rename(tmp_path / "open_clip_config.json")
    write_photos(tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    found = blocks(DOCS / "api.md")
    for number, block in enumerate(found, start=1):
        exec(compile(block, f"block {number} of docs/api.md", "exec"), names)
    assert len(found) == 11
    check_results(tmp_path, names)
    assert (names["summed"].ids > 0).all()
    assert names["second"].vocabulary.names == ("red circle", "sea", "boat")
    assert (tmp_path / "fcclip" / "clip.safetensors").is_file()
    assert names["named"].vocabulary.names == ("red circle", "blue square", "sea")
    assert names["same"].train_vocabulary == names["predictor"].train_vocabulary


def check_results(folder: Path, names: dict[str, Any]) -> None:
    """What the page says of the files, areas, drawings and streams of its first blocks."""
    written = {str(p.relative_to(folder)) for p in (folder / "predicted").rglob("*.*")}
    assert written == {
        f"predicted/{p}" for p in ("photo_overlay.png", "panoptic/photo.png", "panoptic.json", "segments.csv")
    }
    assert names["areas"] == [s["area"] for s in names["annotation"]["segments_info"]] != []
    assert names["mask"].sum() == names["largest"].area
    assert len(names["table"]) == len(names["detections"]) == len(names["areas"])
    assert names["frame"].file_name == "clip_000000.png"
    images = json.loads((folder / "several" / "panoptic.json").read_text())["images"]
    assert [image["file_name"] for image in images] == ["a.png", "b.png", "c.png"]
