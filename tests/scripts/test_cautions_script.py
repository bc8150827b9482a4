"""scripts/miniature/cautions.py on few images."""

from __future__ import annotations

import numpy as np
from PIL import Image

from scripts.miniature import cautions


def test_both_tables(lenient_checkpoint, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(cautions, "SEEDS", range(1))
    monkeypatch.setattr(cautions, "ON_NETWORKS", 1)
    Image.fromarray(np.full((40, 60, 3), 127, np.uint8)).save(tmp_path / "grey.png")
    cautions.main([str(tmp_path), "--networks", str(lenient_checkpoint), "--scenes", "2"])
    lines = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    rows = {cells[1].strip(): [cell.strip() for cell in cells[2:]] for cells in lines}
    assert rows["scenes"][:2] == ["2", "0"]
    assert rows[str(tmp_path)][:3] == ["1", "1", "0.0 to 0.0"]
    networks = [cells[2].strip() for cells in lines if cells[1].strip().endswith("last.ckpt")]
    assert networks == ["scenes", "photographs"]
