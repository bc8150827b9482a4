"""``opsnet-evaluate``: one pass of the network an image, any number of inference settings scored on its outputs."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from opsnet.errors import InputError
from opsnet.files import write_json
from opsnet.inference import TrainedModel, load_checkpoint
from opsnet.metrics.semantic import SEMANTIC_RULE
from opsnet.recognition.modulation import domain_similarity
from opsnet.reporting.results import versions
from opsnet.setting_scorer import SettingScorer
from opsnet.settings import Setting, paper_settings, parse_setting
from opsnet.structures import Batch, PanopticMap
from opsnet.vocabulary import Vocabulary

log = logging.getLogger(__name__)


@dataclass
class Evaluation:
    """What an evaluation found: figures by ``<domain>/<setting>/<measure>``, s and seconds by domain."""

    metrics: dict[str, float] = field(default_factory=dict)
    domain_similarity: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def evaluate(cfg: DictConfig) -> Evaluation:
    """Evaluates a checkpoint on every test domain and writes ``results.json`` (and panels).

    Args:
        cfg: conf/evaluate.yaml.

    Raises:
        CheckpointError, DatasetError, InputError: bad input, before anything is computed.
    """
    from hydra.utils import instantiate

    names = [cfg.settings] if isinstance(cfg.settings, str) else cfg.settings or paper_settings()
    settings = [parse_setting(name) for name in names]
    if cfg.panels and cfg.panel_setting not in [s.name for s in settings]:
        raise InputError(f"panel_setting {cfg.panel_setting} is not among `settings`: add it there, or give panels=0")
    trained = load_checkpoint(
        cfg.checkpoint, clip_weights=cfg.clip_weights, device=cfg.device, label_names_known=cfg.label_names_known
    )
    data = instantiate(cfg.data.module, _convert_="object")
    data.prepare_data()
    data.setup("test")
    evaluation = Evaluation()
    for domain, loader in zip(data.test_names, data.test_dataloader(), strict=True):
        target = data.datasets[f"test/{domain}"].vocabulary
        start = time.monotonic()
        _evaluate_domain(evaluation, domain, loader, trained, target, settings, cfg)
        evaluation.seconds[f"evaluation/{domain}"] = time.monotonic() - start
    result = {
        "experiment": cfg.experiment_name,
        "seed": cfg.seed,
        "metrics": evaluation.metrics,
        "domain_similarity": evaluation.domain_similarity,
        "seconds": evaluation.seconds,
        "versions": versions(),
    }
    write_json(Path(cfg.output) / "results.json", result)
    return evaluation


def _evaluate_domain(
    evaluation: Evaluation, domain: str, loader: Iterable[Batch], trained: TrainedModel, target: Vocabulary,
    settings: list[Setting], cfg: DictConfig,
) -> None:  # fmt: skip
    from rich.progress import track

    scorer = SettingScorer(trained, target, settings)
    device = trained.model.void_embed.device
    shown: list[Any] = []
    for batch in track(loader, description=f"Evaluating {domain}", total=len(loader)):  # type: ignore[arg-type]
        is_drawn = len(shown) < cfg.panels
        maps = scorer.update(batch.to(device), wanted=[cfg.panel_setting] if is_drawn else [])
        if is_drawn:
            shown += _panel_rows(batch, maps[cfg.panel_setting])
    for name, values in scorer.results().items():
        evaluation.metrics.update({f"{domain}/{name}/{key}": value for key, value in values.items()})
    evaluation.domain_similarity[domain] = domain_similarity(scorer.target, scorer.train)
    if shown:
        from opsnet.reporting.overlays import panel

        out = Path(cfg.output) / "panels" / f"{domain}.png"
        panel(shown[: cfg.panels], scorer.target.names, ("picture", "ground truth", "prediction"), out)


def _panel_rows(batch: Batch, maps: list[PanopticMap]) -> list[tuple[Any, PanopticMap, PanopticMap]]:
    rows = []
    for image, (h, w), truth, prediction in zip(batch.images, batch.valid_sizes, batch.panoptic, maps, strict=True):
        pixels = (image[:, :h, :w] * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        rows.append((pixels, PanopticMap(truth.ids, truth.segments), prediction))
    return rows


def run(cfg: DictConfig) -> None:
    """Evaluates and prints the figures as a table."""
    evaluation = evaluate(cfg)
    if not evaluation.metrics:
        raise InputError("data.module.test names no domain: choose a data group with test sets, e.g. data=scenes")
    if cfg.table:
        _print(evaluation)


def _print(evaluation: Evaluation) -> None:
    from rich.console import Console
    from rich.table import Table

    measures = ("PQ", "PQth", "PQst", "SQ", "RQ", "mIoU")
    table = Table("setting", *measures, title="percent", caption=SEMANTIC_RULE)
    for name in [key.removesuffix("/PQ") for key in evaluation.metrics if key.endswith("/PQ")]:
        table.add_row(name, *(f"{evaluation.metrics.get(f'{name}/{m}', math.nan):.1f}" for m in measures))
    Console().print(table)


def main() -> None:
    """Console entry point."""
    import hydra

    from opsnet.configuration import config_dir
    from opsnet.errors import one_sentence_errors

    with one_sentence_errors():
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="evaluate")(run)()


if __name__ == "__main__":
    main()
