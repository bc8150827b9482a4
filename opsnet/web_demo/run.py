"""Builds and serves the web page: network, examples, server."""

from __future__ import annotations

import dataclasses
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from opsnet.utils.errors import InputError
from opsnet.utils.option_values import EDGE, SHARE_OR_NULL, Number, Switch, check_values

KEYS: dict[str, Number | Switch] = {
    "port": Number(0, 65535, whole=True), "threshold": SHARE_OR_NULL, "shortest": EDGE, "longest": EDGE
}  # fmt: skip
EXAMPLES = (("scenes", 3), ("scenes_novel", 5), ("scenes_street", 2))  # domains of the synthetic world, and a seed


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


def draw_examples(folder: Path) -> list[tuple[str, str]]:
    """Writes images of the synthetic world; returns their paths, each with the comma-separated names of its domain."""
    import numpy as np
    from PIL import Image

    from opsnet.miniature.drawing import DOMAINS, draw_scene
    from opsnet.miniature.painting import finish
    from opsnet.vocabulary import Vocabulary

    rows = []
    for name, seed in EXAMPLES:
        rng = np.random.default_rng(seed)
        image = draw_scene(DOMAINS[name], rng)[0]
        path = folder / f"{name}.png"
        Image.fromarray(finish(image, rng)).save(path)
        rows.append((str(path), ", ".join(Vocabulary.load(DOMAINS[name].vocabulary).names)))
    return rows


def demo(cfg: DictConfig) -> Any:
    """Loads the network and builds the page, a gradio ``Blocks``; nothing is served yet.

    Args:
        cfg: conf/demo.yaml.

    Raises:
        InputError: a number or the device is invalid, gradio is not installed, or no checkpoint was found.
    """
    check_values(cfg, KEYS)
    if importlib.util.find_spec("gradio") is None:
        raise InputError("the page needs gradio: pip install '.[demo]' in the clone")
    checkpoint = cfg.checkpoint or newest_checkpoint(Path(cfg.paths.runs))
    from opsnet.prediction.images import AUTO
    from opsnet.prediction.predictor import load
    from opsnet.vocabulary.vocabulary import packaged_vocabularies
    from opsnet.web_demo.layout import build_page

    predictor = load(
        checkpoint, device=cfg.device, clip=cfg.clip_model, clip_weights=cfg.clip_weights,
        train_vocabulary=cfg.train_vocabulary,
    )  # fmt: skip
    sides = {key: cfg[key] for key in ("shortest", "longest") if cfg[key] != AUTO}
    predictor.size = dataclasses.replace(predictor.size, **sides)
    if cfg.threshold is not None:
        predictor.filtering.threshold = float(cfg.threshold)
    print(f"network: {checkpoint}", flush=True)
    return build_page(predictor, draw_examples(Path(tempfile.mkdtemp(prefix="opsnet-"))), packaged_vocabularies())


def serve(cfg: DictConfig) -> None:
    """Serves the page until Ctrl-C."""
    page = demo(cfg)
    from opsnet.web_demo.layout import launch_options

    try:
        page.launch(server_name=cfg.host, server_port=cfg.port, prevent_thread_lock=True, **launch_options())
    except OSError as error:
        raise InputError(f"port {cfg.port} of {cfg.host} cannot be used ({error}): give another, port=8000") from error
    print(f"http://{cfg.host}:{cfg.port}  (Ctrl-C ends it)", flush=True)
    page.block_thread()
