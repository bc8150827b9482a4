"""Damaged videos, as prediction reads them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from opsnet.prediction.sources import image_source
from opsnet.utils.errors import InputError
from scripts.fuzz.cases import Case
from scripts.fuzz.mutation import mutated_bytes

NAMES = ("video",)


@cache
def clip(suffix: str) -> bytes:
    """Three frames of 32 x 32 pixels."""
    import av

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"v{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mjpeg" if suffix == ".avi" else "mpeg4", rate=5)
            stream.width = stream.height = 32
            stream.pix_fmt = "yuvj420p" if suffix == ".avi" else "yuv420p"
            for value in (0, 100, 200):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), value, np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path.read_bytes()


def case(seed: int) -> Case:
    """A video with changed bytes."""
    rng = Random(seed)
    suffix = rng.choice([".mp4", ".avi", ".mkv"])
    return Case({f"v{suffix}": mutated_bytes(rng, clip(suffix))})


def run(given: Case, folder: Path) -> None:
    """Reads all frames up to the first that is damaged.

    Raises:
        InputError: there is no frame.
    """
    given.write(folder)
    (name,) = given.files
    skipped: list[InputError] = []
    frames = sum(1 for _ in image_source(folder / name).readable(skipped.append))
    if not frames and skipped:
        raise skipped[0]
