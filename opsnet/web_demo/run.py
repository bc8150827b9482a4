"""Builds and serves the web page: models, examples, server."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from opsnet.utils.errors import InputError
from opsnet.utils.free_memory import limit_free_memory
from opsnet.utils.option_values import EDGE, SHARE_OR_NULL, Number, Switch, check_values
from opsnet.web_demo.access import opened, password_for

if TYPE_CHECKING:
    from opsnet.prediction.predictor import Predictor

NEWEST = "auto"
WEIGHTS = ("checkpoint", "clip_model", "clip_weights", "train_vocabulary")
"""Keys that describe a model, at the top level of conf/demo.yaml or in an entry of ``models``."""

KEYS: dict[str, Number | Switch] = {
    "port": Number(0, 65535, whole=True), "threshold": SHARE_OR_NULL, "shortest": EDGE, "longest": EDGE,
    "stored_mb": Number(0, 1 << 20, whole=True),
}  # fmt: skip


def newest_checkpoint(runs: Path) -> Path:
    """The last checkpoint of the run that wrote one most recently, in any folder below ``runs``.

    Raises:
        InputError: there is none.
    """
    found = [path for path in runs.expanduser().rglob("checkpoints/last.ckpt") if path.is_file()]
    if not found:
        raise InputError(
            f"there is no trained network under {runs}: train the miniature with `make run`, or give checkpoint=PATH, "
            "for example opsnet-demo checkpoint=last.ckpt"
        )
    return max(found, key=lambda path: path.stat().st_mtime)


def loaders(cfg: DictConfig) -> dict[str, Callable[[], Predictor]]:
    """Name of each model -> a function that loads it.

    Args:
        cfg: conf/demo.yaml.

    Raises:
        InputError: an entry of ``models`` is neither a path nor a mapping with the keys :data:`WEIGHTS`, or there is no
            such file.
    """
    if not cfg.models:
        entry = {key: cfg[key] for key in WEIGHTS}
        entry["checkpoint"] = entry["checkpoint"] or newest_checkpoint(Path(cfg.paths.runs))
        return {Path(entry["checkpoint"]).name: partial(_load, cfg, entry)}
    if given := [key for key in WEIGHTS if cfg[key] is not None]:
        raise InputError(f"{given[0]} is for a single model: leave it out, or write it into an entry of `models`")
    return {str(name): partial(_load, cfg, _entry(cfg, str(name), value)) for name, value in cfg.models.items()}


def _entry(cfg: DictConfig, name: str, value: Any) -> dict[str, Any]:
    entry = dict(value) if isinstance(value, Mapping) else {"checkpoint": value}
    path = entry.get("checkpoint")
    if not isinstance(path, str) or not entry.keys() <= set(WEIGHTS):
        raise InputError(
            f"models.{name} must be a path, or a mapping with checkpoint (a path) and optionally "
            f"{', '.join(WEIGHTS[1:])}, got {value}"
        )
    if path == NEWEST:
        return {**entry, "checkpoint": newest_checkpoint(Path(cfg.paths.runs))}
    from opsnet.checkpoint.folder import is_hub_id

    if not Path(path).expanduser().exists() and not is_hub_id(path):
        raise InputError(f"models.{name}: {path} does not exist: give the path of a checkpoint or of published weights")
    return entry


def _load(cfg: DictConfig, entry: Mapping[str, Any]) -> Predictor:
    from opsnet.prediction.images import AUTO
    from opsnet.prediction.predictor import load

    predictor = load(
        entry["checkpoint"], device=cfg.device, clip=entry.get("clip_model"), clip_weights=entry.get("clip_weights"),
        train_vocabulary=entry.get("train_vocabulary"),
    )  # fmt: skip
    sides = {key: cfg[key] for key in ("shortest", "longest") if cfg[key] != AUTO}
    predictor.size = dataclasses.replace(predictor.size, **sides)
    if cfg.threshold is not None:
        predictor.filtering.threshold = float(cfg.threshold)
    print(f"network: {entry['checkpoint']}", flush=True)
    return predictor


def demo(cfg: DictConfig) -> tuple[Any, Path]:
    """Loads the first model and builds the page, a gradio ``Blocks``, and its upload folder; nothing is served yet.

    Args:
        cfg: conf/demo.yaml.

    Raises:
        InputError: a number or the device is invalid, gradio is not installed, no checkpoint was found, or ``models``
            or ``examples`` are invalid.
    """
    check_values(cfg, KEYS)
    if importlib.util.find_spec("gradio") is None:
        raise InputError("the page needs gradio: pip install '.[demo]' in the clone")
    choices = loaders(cfg)
    from opsnet.vocabulary.vocabulary import packaged_vocabularies
    from opsnet.web_demo.downloads import private_folder
    from opsnet.web_demo.examples import copy_examples, examples_for
    from opsnet.web_demo.layout import build_page
    from opsnet.web_demo.models import Models

    folder = private_folder()
    drawn, uploads = folder / "examples", folder / "uploads"  # apart: gradio deletes what it serves from its own
    for part in (drawn, uploads):
        part.mkdir()
    own = None if cfg.examples is None else copy_examples(Path(cfg.examples).expanduser(), drawn)
    examples = cache(lambda train: examples_for(train, drawn) if own is None else own)
    page = build_page(Models(choices), examples, packaged_vocabularies(), uploads, int(cfg.stored_mb) << 20)
    return page, uploads


def serve(cfg: DictConfig) -> None:
    """Serves the page until Ctrl-C, or until it is terminated (exit code 143)."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # an exit that removes the page's folder
    limit_free_memory()
    auth = password_for(cfg.auth)
    page, uploads = demo(cfg)
    from opsnet.web_demo.layout import launch_options

    logging.getLogger("httpx").setLevel(logging.WARNING)  # gradio's requests to itself
    try:
        page.launch(
            server_name=cfg.host, server_port=cfg.port, auth=auth, prevent_thread_lock=True, **launch_options(uploads)
        )  # fmt: skip
    except OSError as error:
        raise InputError(f"port {cfg.port} of {cfg.host} cannot be used ({error}): give another, port=8000") from error
    print(opened(cfg.host, cfg.port, has_password=auth is not None), flush=True)
    page.block_thread()
