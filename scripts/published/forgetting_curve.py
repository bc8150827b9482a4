"""Draws what fine-tunings learn and forget: PQ on their own validation images and on a probed domain over the steps.

python -m scripts.published.forgetting_curve runs/mine runs/other --domain coco --before before/results.json

A run is the folder of an ``opsnet-train`` with ``probes.domains``; its label is the folder's name. ``--before`` is the
``results.json`` of an ``opsnet-evaluate`` of the initial weights, with one setting and the same images: step 0.
The numbers are printed as a table in Markdown.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from opsnet.utils.errors import InputError
from opsnet.visualization.plots import save_figure

Point = tuple[int, float, float]
"""Optimizer steps, PQ on the own images, PQ on the probed domain (percent)."""


@dataclass(frozen=True)
class Drawing:
    """What the two panels are titled, and the runs by label."""

    own: str
    domain: str
    runs: Mapping[str, Sequence[Point]]


def read_run(folder: Path, domain: str) -> list[Point]:
    """The validations of a run that had a probe.

    Raises:
        InputError: there is no such file, or it has no probe of this domain.
    """
    path, key = folder / "metrics.csv", f"probe/{domain}/PQ"
    if not path.is_file():
        raise InputError(f"{path} does not exist: give the folder of an opsnet-train")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    points = [(int(r["step"]) + 1, float(r["val/PQ"]), float(r[key])) for r in rows if r.get(key) and r.get("val/PQ")]
    if not points:
        raise InputError(f"{path} has no {key}: train with probes.domains=[{domain}]")
    return points


def read_before(path: Path, own: str, domain: str) -> Point:
    """Step 0: the scores of the initial weights.

    Raises:
        InputError: the file does not have exactly one PQ for each of the two domains.
    """
    metrics: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    found = [[v for k, v in metrics.items() if k.startswith(f"{d}/") and k.endswith("/PQ")] for d in (own, domain)]
    if any(len(values) != 1 for values in found):
        raise InputError(f"{path} needs one PQ of {own} and one of {domain}: evaluate both with a single setting")
    return 0, found[0][0], found[1][0]


def draw(drawing: Drawing, out: Path) -> Path:
    """Writes both panels as PNG."""
    figure = Figure(figsize=(8.4, 3.2), layout="constrained")
    for k, (axes, title) in enumerate(zip(figure.subplots(1, 2), (drawing.own, drawing.domain), strict=True), start=1):
        for label, points in drawing.runs.items():
            axes.plot([p[0] for p in points], [p[k] for p in points], marker="o", markersize=3, label=label)
        axes.set(title=title, xlabel="step", ylabel="PQ (%)", ylim=(0, None))
        axes.grid(alpha=0.3)
    lines, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=6, fontsize=8)
    return save_figure(figure, out)


def table(drawing: Drawing) -> str:
    """The points as Markdown, a row per run and step."""
    lines = [f"| run | step | {drawing.own} | {drawing.domain} |", "|---|---:|---:|---:|"]
    for label, points in drawing.runs.items():
        lines += [f"| {label} | {step} | {own:.1f} | {probed:.1f} |" for step, own, probed in points]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of an opsnet-train")
    parser.add_argument("--before", type=Path, metavar="FILE", help="results.json of the initial weights")
    parser.add_argument("--domain", required=True, help="the probed domain")
    parser.add_argument("--own", default="own", help="the test domain of the own images (default: own)")
    parser.add_argument("--out", type=Path, default=Path("forgetting.png"), metavar="FILE")
    given = parser.parse_args(arguments)
    try:
        start = [] if given.before is None else [read_before(given.before, given.own, given.domain)]
        runs = {run.name: start + read_run(run, given.domain) for run in given.runs}
    except (InputError, OSError) as error:
        parser.error(str(error))
    drawing = Drawing(given.own, given.domain, runs)
    print(table(drawing))
    print(f"wrote {draw(drawing, given.out)}")


if __name__ == "__main__":
    main()
