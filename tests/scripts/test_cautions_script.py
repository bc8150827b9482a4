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
    rows = {
        line.split("│")[1].strip(): line.split("│")[2:] for line in capsys.readouterr().out.splitlines() if "│" in line
    }
    assert [rows["scenes"][i].strip() for i in (0, 1)] == ["2", "0"]
    assert [cell.strip() for cell in rows[str(tmp_path)][:3]] == ["1", "1", "0.0 to 0.0"]
    assert sum(name.endswith(("scenes", "photographs")) and "last.ckpt" in name for name in rows) == 2
