"""What must hold after a conversion by ``opsnet-prepare own``: the dataset can read the set that was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.preparation.own_destination import Destination
from opsnet.utils.errors import InputError
from scripts.fuzz.cases import Untrue

NAMES = ("--set", "--vocabulary", "--stuff", "--crowd", "vocabulary")


def convert(prepare: Callable[[Destination], None], folder: Path) -> None:
    """Converts to ``folder``/out and reads the result as training does.

    Raises:
        Untrue: it cannot be read.
    """
    out = folder / "out"
    prepare(Destination("train", out, workers=1))
    try:
        dataset = PanopticDataset(
            images=out / "images" / "train", annotations=out / "panoptic_train.json", vocabulary=out / "vocabulary.json"
        )
        for index in range(len(dataset)):
            dataset[index]
    except InputError as error:
        raise Untrue(f"converted, but the set cannot be read: {error}") from error
