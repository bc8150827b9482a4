"""The network's stage of a prediction: images in, maps out, in batches; or given masks in, named ones out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from opsnet.inference.trained_options import choose_recognizer
from opsnet.prediction.background import Read
from opsnet.prediction.batches import by_padded_size
from opsnet.prediction.carriers import PanopticResult
from opsnet.prediction.images import SourceImage
from opsnet.prediction.mask_files import MaskFiles
from opsnet.prediction.mask_labelling import KeepAll
from opsnet.prediction.mask_run import labelled
from opsnet.prediction.naming import UnknownRule
from opsnet.prediction.opening import chosen_filter
from opsnet.prediction.options import PredictionOptions
from opsnet.prediction.outcome import Skipped
from opsnet.prediction.predictor import Predictor
from opsnet.prediction.semantic_naming import is_from_proposals
from opsnet.utils.errors import InputError, out_of_memory
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.name_tree import NameTree

Result = tuple[SourceImage, PanopticResult]


def results(
    predictor: Predictor, images: Iterator[Read], words: Vocabulary | NameTree, masks: MaskFiles | None,
    options: PredictionOptions, skipped: Skipped | None,
) -> Iterator[Result]:  # fmt: skip
    """Images with their maps; options are checked before the first image is taken.

    Args:
        predictor: the network.
        images: with their numbers, or why they cannot be read.
        words: the names.
        masks: given masks that are named in place of the network's; ``None``: the network's.
        options: of the command.
        skipped: takes the images that cannot be read or need too much memory; ``None``: they are errors.

    Raises:
        InputError: options exclude each other.
    """
    rules: dict[str, Any] = {"path_margin": options.path_margin, "task": options.task, "top_k": options.top_k}
    if options.unknown is not None:
        rules["unknown"] = UnknownRule(margin=options.unknown)
    inference = predictor.trained.inference
    if masks is not None:
        rules["filtering"] = chosen_filter(options.filtering, inference, KeepAll())
        readable = (image for _, block in _blocks(images, 1, skipped) for image in block)
        return labelled(predictor, readable, masks, words, options, rules, skipped)
    rules["semantic"] = options.semantic
    rules["modulation"] = choose_recognizer(options.modulation, predictor.trained).eval().to(predictor.device)
    rules["filtering"] = chosen_filter(options.filtering, inference)
    is_from_proposals(options.task, options.semantic, predictor.semantic, words, rules.get("unknown"))
    blocks = _blocks(images, options.batch_size, skipped)
    return (
        result
        for _, block in blocks
        for chosen in by_padded_size(block, options.batch_size, predictor.size)
        for result in _segmented(predictor, [block[i] for i in chosen], words, rules, skipped)
    )


def _blocks(images: Iterator[Read], size: int, skipped: Skipped | None) -> Iterator[tuple[int, list[SourceImage]]]:
    """The images in blocks of ``size`` successive numbers.

    A batch has images of one block only, so that batches, and with them the last digits of results, do not depend on
    the number of processes, nor on what an earlier run has predicted.
    """
    for number, block in itertools.groupby(images, key=lambda read: read[0] // size):
        readable = []
        for place, image in block:
            if isinstance(image, SourceImage):
                readable.append(image)
            elif skipped is None:
                raise image
            else:
                skipped.add(place, str(image))
        yield number, readable


def _segmented(
    predictor: Predictor, batch: list[SourceImage], words: Vocabulary | NameTree, rules: dict[str, Any],
    skipped: Skipped | None,
) -> Iterator[Result]:  # fmt: skip
    """The segments of a batch; if memory does not suffice for it, of each image alone."""
    try:
        yield from zip(batch, predictor.name(predictor.propose(batch), words, **rules), strict=True)
        return
    except (MemoryError, RuntimeError) as error:
        if not (reason := out_of_memory(error)):
            raise
    if len(batch) > 1:  # only now that the traceback no longer holds the tensors
        for image in batch:
            yield from _segmented(predictor, [image], words, rules, skipped)
        return
    width, height = batch[0].pixels.shape[1::-1]
    message = (
        f"image {batch[0].file_name} ({width} x {height} pixels) needs more memory than there is ({reason}): "
        "give a smaller longest="
    )
    if skipped is None:
        raise InputError(message)
    skipped.add(batch[0].number, message)
