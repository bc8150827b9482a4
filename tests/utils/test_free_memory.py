"""Memory that was freed goes back to the system, even below memory that is still held."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from opsnet.utils import free_memory
from opsnet.utils.free_memory import limit_free_memory, return_free_memory


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


LARGE_BLOCKS = """
import sys
import numpy as np
from opsnet.utils.free_memory import limit_free_memory
from test_free_memory import resident
if sys.argv[1] == "limited":
    limit_free_memory()
np.ones(16 << 20, np.uint8)  # freed: from now on glibc takes blocks of this size from its heap
blocks = [np.ones(4 << 20, np.uint8) for _ in range(50)]
small = [bytes([1]) * 100_000 for _ in range(20)]  # on top of the heap
full = resident()
del blocks
print(full - resident())
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from /proc")
@pytest.mark.parametrize(("mode", "is_given_back"), [("limited", True), ("as it is", False)])
def test_large_blocks_are_given_back_when_they_are_freed(mode, is_given_back) -> None:
    paths = os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[2])))
    found = subprocess.run(
        [sys.executable, "-c", LARGE_BLOCKS, mode],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert (int(found.stdout) > 150) == is_given_back


def test_another_c_library_is_left_alone(monkeypatch) -> None:
    class Other:
        def __init__(self, name: None) -> None:
            pass

    monkeypatch.setattr(free_memory.ctypes, "CDLL", Other)
    return_free_memory()
    limit_free_memory()
