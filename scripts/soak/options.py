"""What each section of the soak gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Options of a section.

    Attributes:
        network: checkpoint.
        folder: an empty folder of the section's own.
        clients: number of clients at once.
        minutes: of load.
        steps: training steps, and predictions.
    """

    network: Path
    folder: Path
    clients: int
    minutes: float
    steps: int
