"""Measures whether the scores of a miniature's segments are probabilities: docs/scores.md.

Usage: python -m scripts.miniature.calibration CHECKPOINT DATA [--limit N]

DATA is the folder of one seed that `make run` draws, e.g. data/scenes_0. The checkpoint's recognizer and filter are
used, on the test images of the training domain and of both unseen domains.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.metrics.calibration import Calibration, calibration, right_segments
from opsnet.metrics.image_overlaps import image_overlaps
from opsnet.prediction.predictor import Predictor, load
from opsnet.utils.errors import exit_on_user_error

DOMAINS = ("scenes", "scenes_novel", "scenes_street")


def measure(predictor: Predictor, data: PanopticDataset, limit: int | None = None) -> dict[str, Calibration]:
    """The calibration of the segments' scores, and of the probabilities of their names.

    Args:
        predictor: with the settings to measure.
        data: labelled images.
        limit: number of images; ``None``: all.
    """
    scores: dict[str, list[float]] = {"score": [], "probability of the name": []}
    right: list[bool] = []
    for i in track(range(len(data) if limit is None else min(limit, len(data))), description=data.vocabulary.name):
        (found,) = predictor.name(predictor.propose(data.read_image(i)), data.vocabulary)
        is_right, counts = right_segments(image_overlaps(found, data.truth(i), len(data.vocabulary)))
        chosen = [s for s, counted in zip(found.segments, counts, strict=True) if counted]
        scores["score"] += [s.score for s in chosen]
        scores["probability of the name"] += [s.top[0].score for s in chosen]
        right += is_right[counts].tolist()
    return {name: calibration(values, right) for name, values in scores.items()}


def tables(results: dict[str, dict[str, Calibration]]) -> Iterable[Table]:
    """All domains in one table, and the bins of the scores in another."""
    summary = Table("domain", "measure", "segments", "mean", "right", "ECE")
    bins = Table("score", *results)
    for domain, by_measure in results.items():
        for name, one in by_measure.items():
            summary.add_row(domain, name, str(one.count), f"{one.score:.3f}", f"{one.right:.3f}", f"{one.ece:.3f}")
    rows = [one["score"].bins for one in results.values()]
    for i, cells in enumerate(zip(*rows, strict=True)):
        edges = f"{i / len(rows[0]):.1f}-{(i + 1) / len(rows[0]):.1f}"
        bins.add_row(edges, *(f"{b.right:.2f} of {b.count}" if b.count else "-" for b in cells))
    return summary, bins


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path, help="folder with scenes, scenes_novel and scenes_street")
    parser.add_argument("--limit", type=int, help="images per domain; default: all")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        predictor = load(options.checkpoint, device=options.device)
        results = {}
        for name in DOMAINS:
            folder = options.data / name
            data = PanopticDataset(
                images=folder / "test", annotations=folder / "annotations" / "panoptic_test.json", vocabulary=name
            )
            results[name] = measure(predictor, data, options.limit)
        console = Console(width=120)
        for table in tables(results):
            console.print(table)


if __name__ == "__main__":
    main()
