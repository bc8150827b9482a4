"""Runs a prediction: image files and class names in, maps on disk and a table of segments out."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from opsnet.inference.config import InferenceConfig
from opsnet.inference.settings import require_query_embeddings
from opsnet.inference.trained_model import TrainedModel, load_clip_alone, load_zero_shot
from opsnet.inference.trained_options import TrainedFilter, TrainedRecognizer, choose_recognizer
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction.carriers import PanopticResult
from opsnet.prediction.cautions import Summary
from opsnet.prediction.cosines import shown_score
from opsnet.prediction.formats import shown_name
from opsnet.prediction.image_ids import ImageFiles, image_files
from opsnet.prediction.images import SourceImage
from opsnet.prediction.mask_files import find_masks
from opsnet.prediction.mask_labelling import KeepAll
from opsnet.prediction.mask_run import labelled
from opsnet.prediction.naming import UnknownRule
from opsnet.prediction.options import PredictionOptions, option_values
from opsnet.prediction.predictor import Predictor, load, load_clip
from opsnet.prediction.semantic_naming import is_from_proposals
from opsnet.prediction.sources import ImageSource, image_source, in_batches
from opsnet.prediction.words import as_words
from opsnet.prediction.writing import PredictionWriter, check_output
from opsnet.utils.errors import InputError, out_of_memory, when_stopped
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.name_tree import NameTree

OUTCOMES = {
    "named": "named", "empty": "empty", "covered": "covered by masks in front", "score": "dropped by their scores",
}  # fmt: skip
"""What became of given masks: a key of :attr:`Outcome.masks`, and how it is printed."""

Result = tuple[SourceImage, PanopticResult]


@dataclass
class Outcome:
    """Summary of a prediction run.

    Attributes:
        done: number of images whose maps were written.
        failed: one error message per image that was skipped.
        seconds: total time, including reading and writing.
        last: map of the last image.
        warnings: of all maps.
        masks: number of given masks that were "named", or why they were not, see :class:`DroppedMask`.
    """

    done: int = 0
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0
    last: PanopticResult | None = None
    warnings: Summary = field(default_factory=Summary)
    masks: Counter[str] = field(default_factory=Counter)

    def add(self, result: PanopticResult) -> None:
        """Counts the result of an image."""
        self.done, self.last = self.done + 1, result
        self.masks.update(mask.reason for mask in result.dropped)
        self.masks["named"] += sum(len(s.source_ids) for s in result.segments)
        self.warnings.add(result.file_name, result)


def predict(cfg: DictConfig) -> Outcome:
    """Segments images or names given masks, and writes overlays, COCO's files and a table; see ``PredictionWriter``.

    Args:
        cfg: conf/predict.yaml.

    Raises:
        InputError: the only image, the vocabulary, checkpoint, weights or CLIP are missing or invalid, an image has no
            masks or id, or an option is out of range; raised before anything is computed.
    """
    options = PredictionOptions(**option_values(cfg))
    words = as_words(options.vocabulary)
    source = image_source(options.image)
    paths = source.paths
    if source.count == 1:
        source = image_source(source.read())
    _refuse_own_images(options.output, paths, is_stream=source.is_stream)
    check_output(options.output, overwrite=options.overwrite)
    files = _files(paths, options)
    masks = None if options.masks is None else find_masks(options.masks, files)
    predictor, outcome = _load(options), Outcome()
    rules: dict[str, Any] = {"path_margin": options.path_margin}
    if options.unknown is not None:
        rules["unknown"] = UnknownRule(margin=options.unknown)
    rules |= {"task": options.task, "top_k": options.top_k}
    images = _images(source, outcome)
    if masks is None:
        results = _segmented(predictor, images, words, options, rules, outcome.failed if source.is_stream else None)
    else:
        rules["filtering"] = _filtering(options.filtering, predictor.trained.inference, KeepAll())
        results = labelled(predictor, images, masks, words, options, rules, outcome.failed)
    _write(images, results, files, options, outcome, source.count)
    _print(outcome, source.is_stream, options.output, files.note if source.is_stream or options.ids_from else "")
    return outcome


def _write(
    images: Generator[SourceImage, None, None], results: Iterator[Result], files: ImageFiles,
    options: PredictionOptions, outcome: Outcome, count: int | None,
) -> None:  # fmt: skip
    """Writes the results as they come; after a signal or an error, those so far are complete on disk."""

    def kept() -> str:
        of = "" if count is None else f" of {count}"
        return f"{outcome.done}{of} images are complete in {options.output}" if outcome.done else "nothing was written"

    start = time.monotonic()
    # An error ends the progress bar of `images` before it is printed.
    with when_stopped(kept), PredictionWriter(options.output, options.task) as writer, closing(images):
        for image, result in results:
            file = None if image.path is None else files.of[image.path]
            writer.add(Path(result.file_name), result.pixels(), result, file)
            outcome.add(result)
            outcome.seconds = time.monotonic() - start


def _refuse_own_images(output: Path, paths: Sequence[Path], *, is_stream: bool) -> None:
    """Refuses to write into the folder of the images, whose overlays would be images of the next run.

    Raises:
        InputError: the folders are the same.
    """
    if is_stream and any(path.parent.resolve() == output.resolve() for path in paths):
        raise InputError(f"output {output} is the folder of the images: give another, such as output={output}_labelled")


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


def _segmented(
    predictor: Predictor, images: Iterator[SourceImage], words: Vocabulary | NameTree, options: PredictionOptions,
    rules: dict[str, Any], failed: list[str] | None,
) -> Iterator[Result]:  # fmt: skip
    """Images with the network's segments, in batches; options are checked before the first is taken.

    Images that need too much memory are reported and added to ``failed``; without it, they are an error.
    """
    rules = {**rules, "semantic": options.semantic}
    rules["modulation"] = choose_recognizer(options.modulation, predictor.trained).eval().to(predictor.device)
    rules["filtering"] = _filtering(options.filtering, predictor.trained.inference)
    is_from_proposals(options.task, options.semantic, predictor.semantic, words, rules.get("unknown"))
    batches = in_batches(images, options.batch_size, predictor.size)
    return (pair for batch in batches for pair in _segments(predictor, batch, words, rules, failed))


def _segments(
    predictor: Predictor, batch: list[SourceImage], words: Vocabulary | NameTree, rules: dict[str, Any],
    failed: list[str] | None,
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
            yield from _segments(predictor, [image], words, rules, failed)
        return
    width, height = batch[0].pixels.shape[1::-1]
    message = (
        f"image {batch[0].file_name} ({width} x {height} pixels) needs more memory than there is ({reason}): "
        "give a smaller longest="
    )
    if failed is None:
        raise InputError(message)
    failed.append(message)
    print(f"skipped: {message}", file=sys.stderr)


def _filtering(filtering: DictConfig, inference: InferenceConfig, own: MaskFiltering | None = None) -> MaskFiltering:
    """The configured filter; its defaults are those of the checkpoint's world.

    Args:
        filtering: conf/filtering.
        inference: of the checkpoint.
        own: takes the place of the checkpoint's filter.
    """
    whole = OmegaConf.create({"filters": dict(inference.filters), "filtering": filtering})
    chosen: MaskFiltering | TrainedFilter = instantiate(whole.filtering)
    return chosen.of(own or inference.mask_filtering) if isinstance(chosen, TrainedFilter) else chosen


def _load(options: PredictionOptions) -> Predictor:
    if options.checkpoint is not None and options.network.model.weights is not None:
        raise InputError("checkpoint and model.weights exclude each other: give one of them")
    if options.checkpoint is not None:
        predictor = load(
            options.checkpoint,
            clip=options.clip_model,
            clip_weights=options.clip_weights,
            device=options.device,
            treat_label_names_as_seen=options.treat_label_names_as_seen,
            train_vocabulary=options.train_vocabulary,
        )
        return Predictor(predictor.trained, **options.sizes)
    if options.network.model.weights is None and options.masks is not None:
        return Predictor(_clip_alone(options), **options.sizes)
    if options.network.model.weights is None:
        raise InputError(
            "no network is given: give checkpoint=PATH of a .ckpt written by opsnet-train, or model.weights=PATH of a "
            "published Mask2Former"
        )
    chosen = instantiate(options.modulation)
    if options.masks is None and not isinstance(chosen, TrainedRecognizer):  # its own is CLIP alone
        require_query_embeddings(chosen, False)
    return Predictor(load_zero_shot(options.network, device=options.device), **options.sizes)


def _clip_alone(options: PredictionOptions) -> TrainedModel:
    """The CLIP of ``clip_model``, or else of the group ``clip``; with the weights of ``clip_weights``, if given."""
    if options.clip_model is not None:
        return load_clip(options.clip_model, clip_weights=options.clip_weights, device=options.device).trained
    network: Any = OmegaConf.create(OmegaConf.to_container(options.network))  # a copy that can be changed
    if options.clip_weights is not None:
        network.clip.model.weights = options.clip_weights
        network.clip.model.architecture.pop("pretrained", None)
    return load_clip_alone(network, device=options.device)


def _images(source: ImageSource, outcome: Outcome) -> Generator[SourceImage, None, None]:
    """Yields images one by one with a progress bar; those that cannot be read are reported and skipped."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True, markup=False), disable=not source.is_stream) as progress:

        def skip(error: InputError) -> None:
            outcome.failed.append(str(error))
            progress.console.print(f"skipped: {error}", soft_wrap=True)
            progress.advance(task)

        task = progress.add_task("Predicting", total=source.count)
        for image in source.readable(skip):
            yield image
            progress.advance(task)


def _print(outcome: Outcome, is_stream: bool, folder: Path, note: str) -> None:
    from rich.console import Console

    console = Console(markup=False)  # names and paths may have brackets
    if not is_stream and outcome.last is not None:
        _print_segments(outcome.last, console)
    rate = outcome.done / max(outcome.seconds, 1e-9)
    if is_stream:
        count = outcome.done + len(outcome.failed)
        console.print(f"{outcome.done} of {count} images, {rate:.2f} images per second", soft_wrap=True)
    if any(outcome.masks.values()):
        rows = ", ".join(f"{outcome.masks[key]} {shown}" for key, shown in OUTCOMES.items() if outcome.masks[key])
        console.print(f"masks: {rows}", soft_wrap=True)
    if outcome.done:
        console.print(f"written to {folder}{note and '; '}{note}", soft_wrap=True)
    for line in outcome.warnings.lines():
        Console(stderr=True).print(f"warning: {line}", soft_wrap=True, markup=False, highlight=False)


def _print_segments(named: PanopticResult, console: Any) -> None:
    from rich.table import Table

    several, given = (any(len(s.top) > 1 for s in named.segments), any(s.source_ids for s in named.segments))
    more = [*(["masks"] if given else []), *(["best names"] if several else [])]
    columns = ("name", "kind", "score", "predicted IoU", "share of the image", *more)
    table = Table(*columns, caption="scores are not calibrated: docs/scores.md")
    for s in sorted(named.segments, key=lambda s: -s.area):
        shown = " > ".join(n.name for n in s.path) if s.path else s.name
        cells = [shown, "thing" if s.is_thing else "stuff", f"{s.score:.2f}", f"{s.iou:.2f}"]
        names = ["\n".join(f"{shown_name(n)} {shown_score(n)}" for n in s.top)] if several else []
        ids = [" ".join(map(str, s.source_ids))] if given else []
        table.add_row(*cells, f"{s.area / named.ids.numel():.1%}", *ids, *names)
    console.print(table)
