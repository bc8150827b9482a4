"""Evaluates one domain: scores every setting on every image and writes panels and csv files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.evaluation.details import Details
from opsnet.evaluation.plan import Plan
from opsnet.evaluation.scorer import SettingScorer
from opsnet.evaluation.sources import Source
from opsnet.metrics.confusions import Confusion, most_common
from opsnet.metrics.semantic import summarise_semantic
from opsnet.structures import PanopticMap

CONFUSIONS_SHOWN = 5


@dataclass(frozen=True)
class DomainMetrics:
    """Metrics in percent by ``<setting>/<measure>``, the similarity s, and the most common confusions by setting."""

    metrics: dict[str, float]
    similarity: float
    misses: dict[str, list[Confusion]]


def evaluate_domain(name: str, source: Source, dataset: PanopticDataset, plan: Plan) -> DomainMetrics:
    """Scores a domain and writes its panels and csv files.

    Args:
        name: the domain's name.
        source: the network's outputs for the images of ``dataset``, in the same order.
        dataset: the domain's images.
        plan: settings to score, and what to draw and write.
    """
    from rich.progress import track

    domain = source.names
    chosen = [setting for setting in plan.settings if setting.name in plan.detail_settings]
    details = {
        s.name: Details(
            domain.target, s.filtering.kind, domain.overlap if s.overlap is None else s.overlap, plan.details
        )
        for s in chosen
        if plan.details
    }
    scorer = SettingScorer(domain, plan.settings, details)
    drawn: list[tuple[PanopticMap, PanopticMap]] = []
    for batch in track(source, description=f"Evaluating {name}", total=len(source)):
        to_draw = [plan.panel_setting] if len(drawn) < plan.panels else []
        maps = scorer.score(batch.output, batch.truths, with_maps=to_draw)
        for key in to_draw:
            truths = [PanopticMap(truth.ids, truth.segments) for truth in batch.truths]
            drawn += zip(truths, maps[key], strict=True)
    if drawn:
        _draw(plan.output / "panels" / f"{name}.png", dataset, drawn[: plan.panels], domain.target.names)
    if plan.details.classes:
        for key, detail in details.items():
            file = f"{name}/{key.replace('/', '_')}.csv"
            detail.write(plan.output, file, scorer.panoptic(key), summarise_semantic(scorer.pixels[key]))
    results = scorer.results()
    return DomainMetrics(
        {f"{key}/{measure}": value for key, values in results.items() for measure, value in values.items()},
        float(domain.names.similarity),
        {k: most_common(d.confusions, domain.target.names, CONFUSIONS_SHOWN) for k, d in details.items()},
    )


def _draw(
    path: Path, dataset: PanopticDataset, maps: Sequence[tuple[PanopticMap, PanopticMap]], names: Sequence[str]
) -> None:
    from opsnet.visualization.overlays import panel

    rows = [(dataset.read_image(i), *pair) for i, pair in enumerate(maps)]
    panel(rows, names, ("image", "ground truth", "prediction"), path)
