"""Memory that was freed goes back to the system, even below memory that is still held."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsnet.utils import free_memory
from opsnet.utils.free_memory import return_free_memory


def resident() -> int:
    """Memory of this process in MB."""
    (line,) = (s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from /proc")
def test_gaps_between_what_is_held_are_given_back() -> None:
    blocks = [bytes([1]) * 60_000 for _ in range(4000)]  # 240 MB, each below the size that is mapped on its own
    held = blocks[::100]
    full = resident()
    del blocks
    return_free_memory()
    assert resident() < full - 180
    assert all(block[0] == 1 for block in held)


def test_another_c_library_is_left_alone(monkeypatch) -> None:
    class Other:
        def __init__(self, name: None) -> None:
            pass

    monkeypatch.setattr(free_memory.ctypes, "CDLL", Other)
    return_free_memory()
