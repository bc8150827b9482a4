"""scripts/miniature/calibration.py on a hardly trained checkpoint."""

from __future__ import annotations

from scripts.miniature import calibration


def test_the_tables_of_all_domains(lenient_checkpoint, world, capsys) -> None:
    calibration.main([str(lenient_checkpoint), str(world.data / "scenes_0"), "--limit", "2", "--device", "cpu"])
    told = capsys.readouterr().out
    for domain in calibration.DOMAINS:
        assert told.count(f"│ {domain} ") >= 2
    assert "ECE" in told and "0.9-1.0" in told
