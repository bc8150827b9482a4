"""The output folder of a prediction: what may be written there, and whether an earlier run is continued."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig

from opsnet.inference.trained_model import pick_device
from opsnet.prediction.options import PredictionOptions
from opsnet.prediction.origin import made_from
from opsnet.prediction.parts import Parts
from opsnet.prediction.sources import ImageSource
from opsnet.prediction.tables import TABLES
from opsnet.prediction.writing import PredictionWriter
from opsnet.utils.errors import InputError
from opsnet.utils.files import remove_temporaries, require_writable
from opsnet.utils.ranks import Ranks


def refuse_own_images(output: Path, paths: Sequence[Path], *, is_stream: bool) -> None:
    """Refuses to write into the folder of the images, whose overlays would be images of the next run.

    Raises:
        InputError: the folders are the same.
    """
    folders = {path.parent for path in paths} if is_stream else set()
    if any(folder.resolve() == output.resolve() for folder in folders):
        raise InputError(f"output {output} is the folder of the images: give another, such as output={output}_labelled")


def check_output(folder: Path, *, overwrite: bool) -> None:
    """Keeps the results of an earlier prediction, and finds a disk that cannot be written before anything is computed.

    Raises:
        InputError: the folder has results that may not be overwritten.
        WriteError: the folder exists and cannot be written.
    """
    if folder.is_dir():
        require_writable(folder)
    earlier = [name for name in TABLES if (folder / name).is_file()]
    if earlier and not overwrite:
        raise InputError(
            f"output {folder} has the results of an earlier prediction ({', '.join(earlier)}): give another output, or "
            "overwrite=true to replace them"
        )


@dataclass(frozen=True)
class Output:
    """Where a rank writes.

    Attributes:
        folder: the output folder.
        task: of the prediction.
        ranks: all processes.
        parts: those in the folder.
        has_parts: whether results are noted there; not those of a single image.
        origin: what the results are made from; known to rank 0.
        is_resumed: whether the parts are continued; known to rank 0.
    """

    folder: Path
    task: str
    ranks: Ranks
    parts: Parts
    has_parts: bool
    origin: dict[str, str]
    is_resumed: bool

    def writer(self) -> PredictionWriter:
        """Opens the folder for all ranks; the writer has the images of an earlier run, if it is continued.

        Raises:
            WriteError: the folder cannot be made or written.
        """
        if self.ranks.is_main and not self.is_resumed:
            self.parts.remove()
            if self.has_parts:
                self.parts.start(self.origin)
        elif self.ranks.is_main:
            for folder in (self.folder, self.folder / self.task, self.parts.folder):
                remove_temporaries(folder)
        self.ranks.barrier()
        parts = self.parts if self.has_parts else None
        writer = PredictionWriter(self.folder, self.task, parts, is_main=self.ranks.is_main)
        writer.resume()
        return writer


def open_output(cfg: DictConfig, options: PredictionOptions, source: ImageSource, ranks: Ranks) -> Output:
    """Checks the output folder, without changing it.

    A prediction of several images that is not complete is continued if it is made from the same.

    Raises:
        InputError: the folder has other results, and ``overwrite`` is not set.
        WriteError: the folder exists and cannot be written.
    """
    parts, origin, is_resumed = Parts(options.output, ranks.rank, source.stamp), {}, False
    if ranks.is_main:
        if source.is_stream:
            listed = list(map(str, source.paths)) if source.paths else [options.image, source.stamp(0)]
            origin = made_from(cfg, listed, torch.device(pick_device(options.device)).type)
        is_resumed = _is_resumed(options, parts, origin)
    return Output(options.output, options.task, ranks, parts, source.is_stream, origin, is_resumed)


def _is_resumed(options: PredictionOptions, parts: Parts, origin: dict[str, str]) -> bool:
    """Whether the parts in the output folder are continued.

    Raises:
        InputError: see :func:`open_output`.
    """
    if not parts.exist():
        check_output(options.output, overwrite=options.overwrite)
        return False
    require_writable(options.output)
    if not options.resume:
        return False
    if not options.overwrite:
        parts.require_same(origin)
        return True
    with suppress(InputError):
        parts.require_same(origin)
        return True
    return False
