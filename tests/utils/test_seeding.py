"""Seeds: the same in every process, and unrelated for neighbours."""

from __future__ import annotations

import subprocess
import sys

from opsnet.utils.seeding import image_number, mix_seed


def test_neighbours_get_unrelated_seeds() -> None:
    seeds = [mix_seed(a, b) for a in range(4) for b in range(4)]
    assert len(set(seeds)) == 16
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert min(abs(a - b) for i, a in enumerate(seeds) for b in seeds[:i]) > 1e6


def test_an_image_has_the_same_number_in_every_process() -> None:
    code = "from opsnet.utils.seeding import image_number; print(image_number('a.png'))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == image_number("a.png") != image_number("b.png")
    assert image_number(7) == 7
