"""The evaluation of one domain: every setting on every picture, and what is written of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.errors import InputError
from opsnet.evaluation.details import Details, Wanted
from opsnet.evaluation.scorer import SettingScorer
from opsnet.evaluation.sources import Source
from opsnet.metrics.confusions import Confusion, commonest
from opsnet.metrics.semantic import summarise_semantic
from opsnet.recognition.modulation import domain_similarity
from opsnet.settings import Setting
from opsnet.structures import PanopticMap

CONFUSIONS_SHOWN = 5


@dataclass(frozen=True)
class Plan:
    """What to do in every domain.

    Attributes:
        settings: to score.
        panels: pictures to draw, under ``panel_setting``.
        panel_setting: a setting's name.
        wanted: what to look at beyond PQ and mIoU, under ``detail_settings``.
        detail_settings: names.
        output: the run's folder.

    Raises:
        InputError: a setting to draw or to look at is not among ``settings``.
    """

    settings: tuple[Setting, ...]
    output: Path
    panels: int = 0
    panel_setting: str = ""
    wanted: Wanted = field(default_factory=Wanted)
    detail_settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [setting.name for setting in self.settings]
        if self.panels and self.panel_setting not in names:
            raise InputError(
                f"panel_setting {self.panel_setting} is not among `settings`: add it there, or give panels=0"
            )
        for name in self.detail_settings:
            if name not in names:
                raise InputError(f"detail_setting {name} is not among `settings`: add it there, or name one of them")

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the embeddings of CLIP that the settings read come from."""
        return tuple(sorted({setting.clip_embeds for setting in self.settings}))


@dataclass(frozen=True)
class DomainFigures:
    """What was found: figures in percent by ``<setting>/<measure>``, s, and the commonest misses by setting."""

    metrics: dict[str, float]
    similarity: float
    misses: dict[str, list[Confusion]]


def evaluate_domain(name: str, source: Source, dataset: PanopticDataset, plan: Plan) -> DomainFigures:
    """Scores a domain, and writes its panels and csv files.

    Args:
        name: of the domain.
        source: what the network says of the pictures of ``dataset``, in their order.
        dataset: the pictures.
        plan: what to do.
    """
    from rich.progress import track

    text = source.text
    chosen = [setting for setting in plan.settings if setting.name in plan.detail_settings]
    details = {s.name: Details(text.target, s.filtering.kind, text.overlap, plan.wanted) for s in chosen if plan.wanted}
    scorer = SettingScorer(text, plan.settings, details)
    drawn: list[tuple[PanopticMap, PanopticMap]] = []
    for answered in track(source, description=f"Evaluating {name}", total=len(source)):
        wanted = [plan.panel_setting] if len(drawn) < plan.panels else []
        maps = scorer.score(answered.outputs, answered.truths, wanted=wanted)
        for key in wanted:
            truths = [PanopticMap(truth.ids, truth.segments) for truth in answered.truths]
            drawn += zip(truths, maps[key], strict=True)
    if drawn:
        _draw(plan.output / "panels" / f"{name}.png", dataset, drawn[: plan.panels], text.target.names)
    if plan.wanted.classes:
        for key, detail in details.items():
            file = f"{name}/{key.replace('/', '_')}.csv"
            detail.write(plan.output, file, scorer.panoptic(key), summarise_semantic(scorer.pixels[key]))
    figures = scorer.results()
    return DomainFigures(
        {f"{key}/{measure}": value for key, values in figures.items() for measure, value in values.items()},
        domain_similarity(text.target, text.train),
        {k: commonest(d.confusions, text.target.names, CONFUSIONS_SHOWN) for k, d in details.items()},
    )


def _draw(
    path: Path, dataset: PanopticDataset, maps: Sequence[tuple[PanopticMap, PanopticMap]], names: Sequence[str]
) -> None:
    from opsnet.reporting.overlays import panel

    rows = [(dataset.picture(i), *pair) for i, pair in enumerate(maps)]
    panel(rows, names, ("picture", "ground truth", "prediction"), path)
