"""Measures the warnings of predictions: false alarms on drawn scenes, misses on photographs (docs/scores.md).

Usage: python -m scripts.miniature.cautions FOLDER ... [--networks FILE ...] [--scenes N]

FOLDER is a folder of photographs, searched for .jpg and .png files. Scenes are drawn anew, N per domain and seed, also
as JPEG and at other sizes. Of each network (any file that opsnet.load reads) the two bounds of an untrained one are
printed on scenes and on the photographs of the first folder.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Column, Table

from opsnet.clip.scope import SCENES, ImageMeasures, Scope, scope_of
from opsnet.data.images import read_rgb
from opsnet.inference.untrained import has_initial_norms, mask_agreement, objectness_ratio, proposals_agree
from opsnet.miniature.drawing import DOMAINS, draw_scene, make_rng
from opsnet.miniature.painting import finish
from opsnet.prediction.predictor import Predictor, load
from opsnet.utils.errors import exit_on_user_error

Pixels = NDArray[np.uint8]
SEEDS = range(100, 104)
ON_NETWORKS = 12  # images of each kind


def drawn(name: str, count: int) -> list[Pixels]:
    """``count`` scenes of a domain for each of :data:`SEEDS`."""
    rngs = [make_rng(seed, name, "cautions", i) for seed in SEEDS for i in range(count)]
    return [finish(draw_scene(DOMAINS[name], rng)[0], rng) for rng in rngs]


def as_jpeg(pixels: Pixels, quality: int) -> Pixels:
    """An image after saving it as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


def scaled(pixels: Pixels, factor: float) -> Pixels:
    """An image at another size."""
    height, width = (round(side * factor) for side in pixels.shape[:2])
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


CHANGES: Mapping[str, Callable[[Pixels], Pixels]] = {
    "JPEG 95": lambda p: as_jpeg(p, 95),
    "JPEG 70": lambda p: as_jpeg(p, 70),
    "JPEG 50": lambda p: as_jpeg(p, 50),
    "three quarters of the size": lambda p: scaled(p, 0.75),
    "twice the size": lambda p: scaled(p, 2),
    "four times the size": lambda p: scaled(p, 4),
}


def image_table(groups: Mapping[str, Sequence[Pixels]], scope: Scope) -> Table:
    """How many images of each group are called unfamiliar, and the range of their measures."""
    table = Table("images", "number", "unfamiliar", "chroma", "contrast")
    for name, images in groups.items():
        measures = [ImageMeasures.of(pixels) for pixels in images]
        ranges = [
            f"{min(values):.1f} to {max(values):.1f}"
            for values in ([m.chroma for m in measures], [m.contrast for m in measures])
        ]
        table.add_row(name, str(len(images)), str(sum(not scope.has_image(p) for p in images)), *ranges)
    return table


def network_row(predictor: Predictor, images: Sequence[Pixels]) -> list[str]:
    """Cells about a network on some images."""
    model, bank, agreement, ratios, called = predictor.trained.model, predictor.trained.names.train_bank(), [], [], 0
    for pixels in images:
        with torch.inference_mode():
            output = predictor.propose(pixels)
            agreement.append(float(mask_agreement(output.proposals.mask_logits)[1]))
            ratios.append(float(objectness_ratio(model, output, bank)))
            called += proposals_agree(model, output, bank)[0]
    spans = [f"{min(agreement):.2f} to {max(agreement):.2f}", f"{min(ratios):.1f} to {max(ratios):.1f}"]
    return ["yes" if has_initial_norms(model) else "no", *spans, f"{called} of {len(images)}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, help="folders of photographs")
    parser.add_argument("--networks", nargs="*", default=[], help="FILE, or FILE@CLIP with its open_clip_config.json")
    parser.add_argument("--scenes", type=int, default=50, help="per domain and seed; default: 50")
    options = parser.parse_args(arguments)
    scope, console = scope_of(SCENES), Console(width=160)
    assert scope is not None
    groups = {name: drawn(name, options.scenes) for name in DOMAINS}
    some = [pixels for images in groups.values() for pixels in images[::4]]
    changed = {name: [change(pixels) for pixels in some] for name, change in CHANGES.items()}
    files = {f: sorted(p for p in f.rglob("*") if p.suffix in (".jpg", ".jpeg", ".png")) for f in options.folders}
    with exit_on_user_error():
        photographs = {str(folder): [read_rgb(path) for path in paths] for folder, paths in files.items()}
        console.print(image_table({**groups, **changed, **photographs}, scope))
        table = Table(
            Column("network", no_wrap=True), "images", "initial norms", "masks agree", "objectness, best / median",
            "called untrained",
        )  # fmt: skip
        first = next(iter(photographs.values()))
        for given in options.networks:
            path, _, clip = given.partition("@")
            predictor = Predictor(load(path, clip=clip or None, device="cpu").trained, shortest=None, longest=320)
            for kind, images in (("scenes", some), ("photographs", first)):
                table.add_row(given[-50:], kind, *network_row(predictor, images[:ON_NETWORKS]))
        if options.networks:
            console.print(table)


if __name__ == "__main__":
    main()
