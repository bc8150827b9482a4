"""Runs a prediction: image files and class names in, maps on disk and a table of segments out."""

from __future__ import annotations

import glob
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from opsnet.inference.config import InferenceConfig
from opsnet.inference.settings import TrainedFilter, choose_recognizer
from opsnet.inference.trained_model import load_clip_alone, load_zero_shot
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction.carriers import NamedMap
from opsnet.prediction.image_ids import image_files
from opsnet.prediction.images import NetworkSize, padded_size, to_pixels
from opsnet.prediction.labelling import KEEP_ALL
from opsnet.prediction.mask_files import find_masks
from opsnet.prediction.mask_run import labelled
from opsnet.prediction.naming import UnknownRule
from opsnet.prediction.options import PredictionOptions, option_values
from opsnet.prediction.predictor import Predictor, load
from opsnet.prediction.semantic_naming import is_from_proposals
from opsnet.prediction.words import as_words
from opsnet.prediction.writing import PredictionWriter, shown_name
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.name_tree import NameTree

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
"""Suffixes of the image files that are used from a folder."""

OUTCOMES = {
    "named": "named", "empty": "empty", "covered": "covered by masks in front", "score": "dropped by their scores",
}  # fmt: skip

Result = tuple[Path, NDArray[np.uint8], NamedMap]
Read = tuple[Path, NDArray[np.uint8]]


@dataclass
class Outcome:
    """Summary of a prediction run.

    Attributes:
        done: number of images whose maps were written.
        failed: one error message per image that was skipped.
        seconds: total time, including reading and writing.
        last: map of the last image.
        masks: number of given masks that were "named", or why they were not, see :class:`DroppedMask`.
    """

    done: int = 0
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0
    last: NamedMap | None = None
    masks: Counter[str] = field(default_factory=Counter)

    def add(self, named: NamedMap) -> None:
        """Counts the map of an image."""
        self.done, self.last = self.done + 1, named
        self.masks.update(mask.reason for mask in named.dropped)
        self.masks["named"] += sum(len(s.source_ids) for s in named.segments)


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
    paths = find_images(options.image)
    known = {paths[0]: to_pixels(paths[0])} if len(paths) == 1 else {}
    files = image_files(paths, options.ids_from)
    masks = None if options.masks is None else find_masks(options.masks, files)
    predictor, outcome = _load(options), Outcome()
    rules: dict[str, Any] = {"path_margin": options.path_margin}
    if options.unknown is not None:
        rules["unknown"] = UnknownRule(margin=options.unknown)
    rules |= {"task": options.task, "top_k": options.top_k}
    images = _read(paths, known, outcome)
    if masks is None:
        results = _segmented(predictor, images, words, options, rules)
    else:
        rules["filtering"] = _filtering(options.filtering, predictor.trained.inference, KEEP_ALL)
        results = labelled(predictor, images, masks, words, options, rules, outcome.failed)
    writer = PredictionWriter(options.output, options.task)
    start = time.monotonic()
    try:
        for path, pixels, named in results:
            writer.add(path, pixels, named, files.of[path])
            outcome.add(named)
    finally:  # an interrupted run keeps its results so far
        outcome.seconds = time.monotonic() - start
        writer.finish()
    _print(outcome, len(paths), options.output, files.note if len(paths) > 1 or options.ids_from else "")
    return outcome


def _segmented(
    predictor: Predictor, images: Iterator[Read], words: Vocabulary | NameTree, options: PredictionOptions,
    rules: dict[str, Any],
) -> Iterator[Result]:  # fmt: skip
    """Images with the network's segments, in batches."""
    rules = {**rules, "semantic": options.semantic}
    rules["modulation"] = choose_recognizer(options.modulation, predictor.trained).eval().to(predictor.device)
    rules["filtering"] = _filtering(options.filtering, predictor.trained.inference)
    is_from_proposals(options.task, options.semantic, predictor.semantic, words, rules.get("unknown"))
    return _segments(predictor, _batches(images, options.batch_size, predictor.size), words, rules)


def _segments(
    predictor: Predictor, batches: Iterator[list[Read]], words: Vocabulary | NameTree, rules: dict[str, Any]
) -> Iterator[Result]:
    for batch in batches:
        proposed = predictor.propose([pixels for _, pixels in batch])
        for (path, pixels), named in zip(batch, predictor.name(proposed, words, **rules)):
            yield path, pixels, named


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
        return Predictor(load_clip_alone(options.network, device=options.device), **options.sizes)
    if options.network.model.weights is None:
        raise InputError(
            "no network is given: give checkpoint=PATH of a .ckpt written by opsnet-train, or model.weights=PATH of a "
            "published Mask2Former"
        )
    if options.masks is None and getattr(
        instantiate(options.modulation), "needs_query_embeddings", True
    ):  # `trained` is no recognizer yet
        raise InputError(
            "a Mask2Former from model.weights has no trained query embeddings: choose modulation=clip_only"
        )
    return Predictor(load_zero_shot(options.network, device=options.device), **options.sizes)


def find_images(text: str) -> list[Path]:
    """The images of ``image=``: a file, all images of a folder, or all files that match a pattern such as ``a/*.jpg``.

    Raises:
        InputError: there are none.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise InputError(f"image folder {path} has no images ({', '.join(SUFFIXES)}): give another")
        return found
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    found = sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())
    if not found:
        raise InputError(f"image {path} matches no file: check the pattern")
    return found


def _read(paths: list[Path], known: dict[Path, NDArray[np.uint8]], outcome: Outcome) -> Iterator[Read]:
    """Yields images one by one with a progress bar; those that cannot be read are reported and skipped."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=len(paths) < 2) as progress:
        for path in progress.track(paths, description="Predicting"):
            try:
                pixels = known[path] if path in known else to_pixels(path)
            except InputError as error:
                outcome.failed.append(str(error))
                progress.console.print(f"skipped: {error}", soft_wrap=True)
                continue
            yield path, pixels


def _batches(images: Iterator[Read], size: int, network_size: NetworkSize) -> Iterator[list[Read]]:
    """Groups up to ``size`` successive images of equal padded size, so that maps do not depend on other images."""
    batch: list[Read] = []
    shape: tuple[int, int] | None = None
    for path, pixels in images:
        own = padded_size(*network_size.of(pixels.shape[0], pixels.shape[1]))
        if batch and (own != shape or len(batch) == size):
            yield batch
            batch = []
        shape = own
        batch.append((path, pixels))
    if batch:
        yield batch


def _print(outcome: Outcome, count: int, folder: Path, note: str) -> None:
    from rich.console import Console

    console = Console()
    if count == 1 and outcome.last is not None:
        _print_segments(outcome.last, console)
    rate = outcome.done / max(outcome.seconds, 1e-9)
    if count > 1:
        console.print(f"{outcome.done} of {count} images, {rate:.2f} images per second", soft_wrap=True)
    if any(outcome.masks.values()):
        rows = ", ".join(f"{outcome.masks[key]} {shown}" for key, shown in OUTCOMES.items() if outcome.masks[key])
        console.print(f"masks: {rows}", soft_wrap=True)
    if outcome.done:
        console.print(f"written to {folder}{note and '; '}{note}", soft_wrap=True)


def _print_segments(named: NamedMap, console: Any) -> None:
    from rich.table import Table

    several, given = (any(len(s.top) > 1 for s in named.segments), any(s.source_ids for s in named.segments))
    more = [*(["masks"] if given else []), *(["best names"] if several else [])]
    table = Table("name", "kind", "score", "predicted IoU", "share of the image", *more)
    for s in sorted(named.segments, key=lambda s: -s.area):
        shown = " > ".join(n.name for n in s.path) if s.path else s.name
        cells = [shown, "thing" if s.is_thing else "stuff", f"{s.score:.2f}", f"{s.iou:.2f}"]
        names = ["\n".join(f"{shown_name(n)} {n.score:.2f}" for n in s.top)] if several else []
        ids = [" ".join(map(str, s.source_ids))] if given else []
        table.add_row(*cells, f"{s.area / named.ids.numel():.1%}", *ids, *names)
    console.print(table)
