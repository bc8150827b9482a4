"""The script that puts several seeds side by side."""

from __future__ import annotations

import pytest

from scripts.miniature import summarize_seeds


def test_prints_and_writes_both_tables(tmp_path, write_run, capsys):
    runs = [str(write_run(tmp_path / f"run{seed}", seed=seed)) for seed in (4, 11)]
    out = tmp_path / "seeds.md"
    summarize_seeds.main([*runs, "--out", str(out)])
    text = out.read_text(encoding="utf-8")
    assert "| Ranking | Needed | seed 4 | seed 11 | mean | sd | Reproduced in |" in text
    assert "| Out-of-domain: full beats Query | >= 5 | +10.00 | +10.00 | +10.00 | 0.00 | 2 of 2 |" in text
    assert "| OPSNet | 68.0 ± 0.0 | 47.0 ± 0.0 | 45.0 ± 0.0 | 46.0 ± 0.0 |" in text
    assert "Rankings over 2 seeds" in capsys.readouterr().out


def test_a_folder_that_is_no_run_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        summarize_seeds.main([str(tmp_path / "nowhere")])
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert error.startswith("error: ") and "nowhere" in error
