"""Prediction as configured: image files and class names in, maps on disk and a table of segments out."""

from __future__ import annotations

import glob
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from opsnet.inference.config import InferenceConfig
from opsnet.inference.settings import TrainedFilter, choose_recognizer
from opsnet.inference.trained_model import load_zero_shot
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction.carriers import NamedMap
from opsnet.prediction.naming import UnknownRule
from opsnet.prediction.pictures import NetworkSize, padded_size, to_pixels
from opsnet.prediction.predictor import Predictor, as_words, load
from opsnet.prediction.writing import TASKS, PredictionWriter, shown_name
from opsnet.utils.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
"""Files of a folder that count as pictures."""

Read = tuple[Path, NDArray[np.uint8]]


@dataclass
class Outcome:
    """What a prediction did.

    Attributes:
        done: pictures written.
        failed: what was wrong with each of the others.
        seconds: from the first picture to the last, reading and writing included.
        last: the last picture's map.
    """

    done: int = 0
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0
    last: NamedMap | None = None


def predict(cfg: DictConfig) -> Outcome:
    """Segments pictures and writes overlays, COCO's files and a table, see :class:`PredictionWriter`.

    Args:
        cfg: conf/predict.yaml.

    Raises:
        InputError: the only picture, the vocabulary, checkpoint, weights or CLIP are missing or unusable, or an option
            is out of range; before anything is computed.
    """
    words = as_words(cfg.vocabulary if isinstance(cfg.vocabulary, str) else list(cfg.vocabulary))
    paths = find_pictures(cfg.image)
    _check(cfg)
    known = {paths[0]: to_pixels(paths[0])} if len(paths) == 1 else {}
    predictor, outcome = _load(cfg), Outcome()
    rules: dict[str, Any] = {"path_margin": cfg.path_margin}
    if cfg.unknown is not None:
        rules["unknown"] = UnknownRule(margin=cfg.unknown)
    rules["modulation"] = choose_recognizer(cfg.modulation, predictor.trained).eval().to(predictor.device)
    rules["filtering"] = _filtering(cfg, predictor.trained.inference)
    writer = PredictionWriter(Path(cfg.output), cfg.task)
    start = time.monotonic()
    try:
        for batch in _batches(_read(paths, known, outcome), cfg.batch_size, predictor.size):
            proposed = predictor.propose([pixels for _, pixels in batch])
            for (path, pixels), named in zip(batch, predictor.name(proposed, words, top_k=cfg.top_k, **rules)):
                writer.add(path, pixels, named)
                outcome.done, outcome.last = outcome.done + 1, named
    finally:  # a run that is stopped keeps what it has
        outcome.seconds = time.monotonic() - start
        writer.finish()
    _print(outcome, len(paths), Path(cfg.output))
    return outcome


def _check(cfg: DictConfig) -> None:
    if cfg.task not in TASKS:
        raise InputError(f"task must be one of {', '.join(TASKS)}, got '{cfg.task}'")
    for key in ("top_k", "batch_size"):
        if cfg[key] < 1:
            raise InputError(f"{key} must be at least 1, got {cfg[key]}: change `{key}`")
    if not 0 <= cfg.path_margin <= 1:
        raise InputError(f"path_margin must lie in 0..1, got {cfg.path_margin}: change `path_margin`")
    if cfg.unknown is not None and not 0 < cfg.unknown <= 1:
        raise InputError(f"unknown must be a margin above 0 and up to 1, or null, got {cfg.unknown}")


def _filtering(cfg: DictConfig, inference: InferenceConfig) -> MaskFiltering:
    """The filter of the configuration; its defaults are those of the checkpoint's world."""
    from hydra.utils import instantiate

    whole = OmegaConf.create({"filters": dict(inference.filters), "filtering": cfg.filtering})
    chosen: MaskFiltering | TrainedFilter = instantiate(whole.filtering)
    return chosen.of(inference.mask_filtering) if isinstance(chosen, TrainedFilter) else chosen


def _load(cfg: DictConfig) -> Predictor:
    how = {"shortest": cfg.shortest, "longest": cfg.longest, "overlap": cfg.overlap}
    if cfg.checkpoint is not None and cfg.model.weights is not None:
        raise InputError("checkpoint and model.weights both name a network: give one of them")
    if cfg.checkpoint is not None:
        predictor = load(
            cfg.checkpoint, clip_weights=cfg.clip_weights, device=cfg.device, label_names_known=cfg.label_names_known
        )
        return Predictor(predictor.trained, **how)
    if cfg.model.weights is None:
        raise InputError(
            "no network is named: give checkpoint=PATH of a .ckpt written by opsnet-train, or model.weights=PATH of a "
            "published Mask2Former"
        )
    if not cfg.modulation._target_.endswith(".ClipOnly"):
        raise InputError(
            "a Mask2Former from model.weights has no trained query embeddings: choose modulation=clip_only"
        )
    return Predictor(load_zero_shot(cfg, device=cfg.device), **how)


def find_pictures(text: str) -> list[Path]:
    """The pictures that ``image=`` names: a file, all of a folder, or all that a pattern such as ``a/*.jpg`` matches.

    Raises:
        InputError: there is none.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise InputError(f"image folder {path} holds no picture ({', '.join(SUFFIXES)}): give another")
        return found
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    found = sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())
    if not found:
        raise InputError(f"image {path} matches no file: check the pattern")
    return found


def _read(paths: list[Path], known: dict[Path, NDArray[np.uint8]], outcome: Outcome) -> Iterator[Read]:
    """Pictures one after the other with a progress bar; those that cannot be read are reported and left out."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=len(paths) < 2) as progress:
        for path in progress.track(paths, description="Predicting"):
            try:
                pixels = known[path] if path in known else to_pixels(path)
            except InputError as error:
                outcome.failed.append(str(error))
                progress.console.print(f"left out: {error}", soft_wrap=True)
                continue
            yield path, pixels


def _batches(pictures: Iterator[Read], size: int, seen_at: NetworkSize) -> Iterator[list[Read]]:
    """Neighbours of one padded size, up to ``size`` of them: a map does not hang on a picture's neighbours."""
    batch: list[Read] = []
    shape: tuple[int, int] | None = None
    for path, pixels in pictures:
        own = padded_size(*seen_at.of(pixels.shape[0], pixels.shape[1]))
        if batch and (own != shape or len(batch) == size):
            yield batch
            batch = []
        shape = own
        batch.append((path, pixels))
    if batch:
        yield batch


def _print(outcome: Outcome, count: int, folder: Path) -> None:
    from rich.console import Console

    console = Console()
    if count == 1 and outcome.last is not None:
        _print_segments(outcome.last, console)
    rate = outcome.done / max(outcome.seconds, 1e-9)
    if count > 1:
        console.print(f"{outcome.done} of {count} pictures, {rate:.2f} pictures a second", soft_wrap=True)
    if outcome.done:
        console.print(f"written to {folder}", soft_wrap=True)


def _print_segments(named: NamedMap, console: Any) -> None:
    from rich.table import Table

    several = any(len(s.top) > 1 for s in named.segments)
    table = Table(
        "name", "kind", "score", "predicted IoU", "share of the picture", *(["best names"] if several else [])
    )
    for s in sorted(named.segments, key=lambda s: -s.area):
        shown = " > ".join(n.name for n in s.path) if s.path else s.name
        cells = [shown, "thing" if s.is_thing else "stuff", f"{s.score:.2f}", f"{s.iou:.2f}"]
        names = ["\n".join(f"{shown_name(n)} {n.score:.2f}" for n in s.top)] if several else []
        table.add_row(*cells, f"{s.area / named.ids.numel():.1%}", *names)
    console.print(table)
