"""Runs a prediction: image files and class names in, maps on disk and a table of segments out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from opsnet.inference.config import InferenceConfig
from opsnet.inference.settings import (
    TrainedFilter,
    TrainedRecognizer,
    choose_recognizer,
    require_query_embeddings,
)
from opsnet.inference.trained_model import load_zero_shot
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction.carriers import PanopticResult
from opsnet.prediction.cautions import Summary
from opsnet.prediction.cosines import shown_score
from opsnet.prediction.formats import shown_name
from opsnet.prediction.images import SourceImage
from opsnet.prediction.naming import UnknownRule
from opsnet.prediction.options import PredictionOptions, option_values
from opsnet.prediction.predictor import Predictor, load
from opsnet.prediction.semantic_naming import is_from_proposals
from opsnet.prediction.sources import ImageSource, image_source, in_batches
from opsnet.prediction.words import as_words
from opsnet.prediction.writing import PredictionWriter
from opsnet.utils.errors import InputError


@dataclass
class Outcome:
    """Summary of a prediction run.

    Attributes:
        done: number of images whose maps were written.
        failed: one error message per image that was skipped.
        seconds: total time, including reading and writing.
        last: map of the last image.
        warnings: of all maps.
    """

    done: int = 0
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0
    last: PanopticResult | None = None
    warnings: Summary = field(default_factory=Summary)


def predict(cfg: DictConfig) -> Outcome:
    """Segments images and writes overlays, COCO's files and a table, see :class:`PredictionWriter`.

    Args:
        cfg: conf/predict.yaml.

    Raises:
        InputError: the only image, the vocabulary, checkpoint, weights or CLIP are missing or invalid, or an option is
            out of range; raised before anything is computed.
    """
    options = PredictionOptions(**option_values(cfg))
    words = as_words(options.vocabulary)
    source = image_source(options.image)
    if source.count == 1:
        source = image_source(source.read())
    predictor, outcome = _load(options), Outcome()
    rules: dict[str, Any] = {"path_margin": options.path_margin}
    if options.unknown is not None:
        rules["unknown"] = UnknownRule(margin=options.unknown)
    rules["modulation"] = choose_recognizer(options.modulation, predictor.trained).eval().to(predictor.device)
    rules["filtering"] = _filtering(options.filtering, predictor.trained.inference)
    rules |= {"task": options.task, "semantic": options.semantic}
    is_from_proposals(options.task, options.semantic, predictor.semantic, words, rules.get("unknown"))
    writer = PredictionWriter(options.output, options.task)
    start = time.monotonic()
    try:
        for batch in in_batches(_images(source, outcome), options.batch_size, predictor.size):
            for result in predictor.name(predictor.propose(batch), words, top_k=options.top_k, **rules):
                writer.add(Path(result.file_name), result.pixels(), result)
                outcome.done, outcome.last = outcome.done + 1, result
                outcome.warnings.add(result.file_name, result)
    finally:  # an interrupted run keeps its results so far
        outcome.seconds = time.monotonic() - start
        writer.finish()
    _print(outcome, source.is_stream, options.output)
    return outcome


def _filtering(filtering: DictConfig, inference: InferenceConfig) -> MaskFiltering:
    """The configured filter; its defaults are those of the checkpoint's world."""
    whole = OmegaConf.create({"filters": dict(inference.filters), "filtering": filtering})
    chosen: MaskFiltering | TrainedFilter = instantiate(whole.filtering)
    return chosen.of(inference.mask_filtering) if isinstance(chosen, TrainedFilter) else chosen


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
    if options.network.model.weights is None:
        raise InputError(
            "no network is given: give checkpoint=PATH of a .ckpt written by opsnet-train, or model.weights=PATH of a "
            "published Mask2Former"
        )
    chosen = instantiate(options.modulation)
    if not isinstance(chosen, TrainedRecognizer):  # its own is CLIP alone
        require_query_embeddings(chosen, False)
    return Predictor(load_zero_shot(options.network, device=options.device), **options.sizes)


def _images(source: ImageSource, outcome: Outcome) -> Iterator[SourceImage]:
    """Yields images one by one with a progress bar; those that cannot be read are reported and skipped."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not source.is_stream) as progress:

        def skip(error: InputError) -> None:
            outcome.failed.append(str(error))
            progress.console.print(f"skipped: {error}", soft_wrap=True)
            progress.advance(task)

        task = progress.add_task("Predicting", total=source.count)
        for image in source.readable(skip):
            yield image
            progress.advance(task)


def _print(outcome: Outcome, is_stream: bool, folder: Path) -> None:
    from rich.console import Console

    console = Console()
    if not is_stream and outcome.last is not None:
        _print_segments(outcome.last, console)
    rate = outcome.done / max(outcome.seconds, 1e-9)
    if is_stream:
        count = outcome.done + len(outcome.failed)
        console.print(f"{outcome.done} of {count} images, {rate:.2f} images per second", soft_wrap=True)
    if outcome.done:
        console.print(f"written to {folder}", soft_wrap=True)
    for line in outcome.warnings.lines():
        Console(stderr=True).print(f"warning: {line}", soft_wrap=True, markup=False, highlight=False)


def _print_segments(named: PanopticResult, console: Any) -> None:
    from rich.table import Table

    several = any(len(s.top) > 1 for s in named.segments)
    columns = ("name", "kind", "score", "predicted IoU", "share of the image", *(["best names"] if several else []))
    table = Table(*columns, caption="scores are not calibrated: docs/scores.md")
    for s in sorted(named.segments, key=lambda s: -s.area):
        shown = " > ".join(n.name for n in s.path) if s.path else s.name
        cells = [shown, "thing" if s.is_thing else "stuff", f"{s.score:.2f}", f"{s.iou:.2f}"]
        names = ["\n".join(f"{shown_name(n)} {shown_score(n)}" for n in s.top)] if several else []
        table.add_row(*cells, f"{s.area / named.ids.numel():.1%}", *names)
    console.print(table)
