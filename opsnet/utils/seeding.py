"""Seeds that follow from where a random number is needed, so that nothing of the randomness has to be stored."""

from __future__ import annotations

import zlib

import numpy as np


def mix_seed(*parts: int) -> int:
    """A seed from several numbers >= 0, such that neighbouring numbers give unrelated seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def image_number(image_id: int | str) -> int:
    """A number >= 0 for an image's id, the same in every process (``hash`` of a text is not)."""
    return abs(image_id) if isinstance(image_id, int) else zlib.crc32(image_id.encode())
