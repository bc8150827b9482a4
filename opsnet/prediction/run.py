"""Runs a prediction: image files and class names in, maps on disk and a table of segments out.

Each process (rank) takes every n-th block of images. Images are read in threads ahead of the network and written in
threads behind it. Rank 0 merges what all have written into the tables, see :mod:`opsnet.prediction.parts`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from omegaconf import DictConfig

from opsnet.prediction.background import Background, read_ahead
from opsnet.prediction.image_ids import ImageFiles, image_files
from opsnet.prediction.image_writing import OutputNames
from opsnet.prediction.mask_files import MaskFiles, find_masks
from opsnet.prediction.opening import open_predictor
from opsnet.prediction.options import PredictionOptions, option_values
from opsnet.prediction.outcome import Outcome, Progress, Skipped, print_outcome
from opsnet.prediction.output import Output, open_output, refuse_own_images
from opsnet.prediction.sources import ImageSource, image_source
from opsnet.prediction.stages import Result, results
from opsnet.prediction.words import as_words
from opsnet.prediction.writing import PredictionWriter
from opsnet.utils.errors import InputError, when_stopped
from opsnet.utils.ranks import Ranks, start_ranks
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.name_tree import NameTree

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """What is to be predicted.

    Attributes:
        options: of the command.
        source: the images.
        files: their ids and file names.
        names: the beginnings of their files' names, by number; none for frames of a video.
        words: the class names.
        masks: given masks, which are named in place of the network's.
    """

    options: PredictionOptions
    source: ImageSource
    files: ImageFiles
    names: list[str]
    words: Vocabulary | NameTree
    masks: MaskFiles | None


def predict(cfg: DictConfig) -> Outcome:
    """Segments images or names given masks, and writes overlays, COCO's files and a table; see ``PredictionWriter``.

    Args:
        cfg: conf/predict.yaml.

    Returns:
        The outcome of all ranks; on ranks other than the first an empty one.

    Raises:
        InputError: the only image, the vocabulary, checkpoint, weights or CLIP are missing or invalid, an image has no
            masks or id, or an option is out of range; raised before anything is computed.
    """
    task = _task(PredictionOptions(**option_values(cfg)))
    with start_ranks(cfg.get("trainer"), task.options.device) as ranks:
        # Under SLURM and torchrun, the default folder is named by each rank's own time.
        options = replace(task.options, device=ranks.device, output=ranks.gather(task.options.output)[0])
        task = replace(task, options=options)
        outcome = _predicted(task, open_output(cfg, task.options, task.source, ranks), ranks)
    if ranks.is_main:
        note = task.files.note if task.source.is_stream or task.options.ids_from else ""
        print_outcome(outcome, task.options.output, is_stream=task.source.is_stream, note=note)
    return outcome


def _task(options: PredictionOptions) -> Task:
    words, source = as_words(options.vocabulary), image_source(options.image)
    paths = source.paths
    if source.count == 1:
        source = image_source(source.read())
    refuse_own_images(options.output, paths, is_stream=source.is_stream)
    files = _files(paths, options)
    masks = None if options.masks is None else find_masks(options.masks, files)
    return Task(options, source, files, OutputNames.of(paths), words, masks)


def _files(paths: tuple[Path, ...], options: PredictionOptions) -> ImageFiles:
    """The id and file name of each image.

    Raises:
        InputError: see :func:`image_files`; or ids or masks are looked for by names that the images do not have.
    """
    for key in ("ids_from", "masks"):
        if getattr(options, key) is not None and not paths:
            raise InputError(
                f"{key} finds images by their names, and {options.image} has images without: save them as image files"
            )
    return image_files(paths, options.ids_from)


def _predicted(task: Task, output: Output, ranks: Ranks) -> Outcome:
    """Predicts the share of a rank, and merges those of all on rank 0.

    After a signal or an error, the images so far are complete on disk.
    """
    options, source, done, outcome = task.options, task.source, set[int](), Outcome()
    predictor, skipped = open_predictor(options), Skipped()
    mine = share(source.numbered(), done, options.batch_size, ranks)
    size = predictor.size if task.masks is None else None
    images = read_ahead(mine, options.num_workers, options.batch_size, size)
    found = results(predictor, images, task.words, task.masks, options, skipped if source.is_stream else None)
    start = time.monotonic()
    with output.writer() as writer, when_stopped(lambda: _kept(writer, source)), closing(images):
        done |= set(writer.images)
        with Progress(_count(source, done, options, ranks), is_shown=source.is_stream and ranks.is_main) as progress:
            skipped.say = progress.skip
            _write(found, task, writer, outcome, progress)
        failed = ranks.gather(skipped.messages)
    outcome.seconds, outcome.resumed = time.monotonic() - start, len(done)
    if not ranks.is_main:
        return Outcome()
    outcome.count(writer.images, {number: why for part in failed for number, why in part.items()})
    if not outcome.failed:
        output.parts.remove()
    return outcome


def share(images: Iterable[tuple[int, T]], done: Collection[int], size: int, ranks: Ranks) -> Iterator[tuple[int, T]]:
    """The images of a rank: of blocks of ``size`` images every n-th, unless all of a block are done.

    Args:
        images: with their numbers from 0.
        done: numbers of the images that an earlier run has written.
        size: images per block, of which batches are made.
        ranks: all processes.
    """
    for number, block in itertools.groupby(images, key=lambda image: image[0] // size):
        listed = list(block)
        if number % ranks.count == ranks.rank and not all(image in done for image, _ in listed):
            yield from listed


def _count(source: ImageSource, done: Collection[int], options: PredictionOptions, ranks: Ranks) -> int | None:
    """Number of images in the share of a rank, if it is known."""
    if source.count is None:
        return None
    return sum(1 for _ in share(enumerate(range(source.count)), done, options.batch_size, ranks))


def _write(found: Iterator[Result], task: Task, writer: PredictionWriter, outcome: Outcome, progress: Progress) -> None:
    """Writes results as they come, beside the network."""
    with Background(task.options.num_workers) as background:
        for image, result in found:
            file = None if image.path is None else task.files.of[image.path]
            name = task.names[image.number] if task.names else None
            path, number = Path(result.file_name), image.number
            size = image.pixels.nbytes + result.ids.nbytes
            background.call(writer.add, path, result.pixels(), result, file, size=size, number=number, name=name)
            outcome.last = result
            progress.advance()


def _kept(writer: PredictionWriter, source: ImageSource) -> str:
    """What a signal leaves of a prediction."""
    with suppress(InputError):
        writer.merge()
    if not writer.count:
        return "nothing was written"
    of = "" if source.count is None else f" of {source.count}"
    again = f"; the same command with output={writer.folder} continues" if source.is_stream else ""
    return f"{writer.count}{of} images are complete in {writer.folder}{again}"
