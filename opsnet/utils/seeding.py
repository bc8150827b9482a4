"""Seeds derived from where a random number is used, so that no random state has to be stored."""

from __future__ import annotations

import zlib

import numpy as np


def mix_seed(*parts: int) -> int:
    """Combines several numbers >= 0 into a seed, such that similar numbers give unrelated seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def image_number(image_id: int | str) -> int:
    """Maps an image id to a number >= 0 that is the same in every process (unlike ``hash`` of a string)."""
    return abs(image_id) if isinstance(image_id, int) else zlib.crc32(image_id.encode())
