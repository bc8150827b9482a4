"""The frames of a video file, decoded one by one with PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opsnet.utils.errors import InputError

SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")


@dataclass(frozen=True)
class Video:
    """A video file that can be read.

    Attributes:
        path: the file.
        count: number of frames, as the file states it; ``None`` if it does not.
    """

    path: Path
    count: int | None

    @classmethod
    def open(cls, path: Path) -> Video:
        """Checks that a file has frames.

        Raises:
            InputError: PyAV is not installed, or the file is not a video.
        """
        try:
            import av
        except ImportError as error:
            raise InputError(f"{path} is a video, which needs PyAV: pip install '.[video]' in the clone") from error
        try:
            with _opened(path) as container:
                if not container.streams.video:
                    raise InputError(f"video {path} has no images: give another file")
                return cls(path, container.streams.video[0].frames or None)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise InputError(f"video {path} cannot be read ({_reason(error)}): replace the file") from error

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yields the frames (H, W, 3) RGB, upright.

        Raises:
            InputError: the file is damaged; the frames before were yielded.
        """
        import av

        number = 0
        try:
            with _opened(self.path) as container:
                for frame in container.decode(video=0):
                    # Telephones store the sensor's orientation and an angle, counterclockwise.
                    turns = round(frame.rotation / 90) % 4
                    yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
                    number += 1
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise InputError(f"video {self.path} cannot be read after {number} frames ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _opened(path: Path) -> Any:
    """A container; titles and comments that are not UTF-8 do not matter."""
    import av

    return av.open(str(path), metadata_errors="replace")
