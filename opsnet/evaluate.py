"""``opsnet-evaluate``: one pass of the network an image, any number of inference settings scored on its outputs."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from opsnet.data.datamodule import PanopticDataModule
from opsnet.errors import InputError
from opsnet.evaluation.details import Wanted
from opsnet.evaluation.domains import Plan, evaluate_domain
from opsnet.evaluation.printing import print_figures
from opsnet.evaluation.sources import NetworkSource, Source, StoredSource
from opsnet.evaluation.store import ProposalWriter, fingerprint, open_domain
from opsnet.files import write_json
from opsnet.inference import TrainedModel, load_checkpoint, pick_device
from opsnet.metrics.confusions import Confusion
from opsnet.reporting.results import versions
from opsnet.settings import paper_settings, parse_setting

log = logging.getLogger(__name__)


@dataclass
class Evaluation:
    """What an evaluation found: figures by ``<domain>/<setting>/<measure>``, s, seconds and commonest misses."""

    metrics: dict[str, float] = field(default_factory=dict)
    domain_similarity: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    misses: dict[str, list[Confusion]] = field(default_factory=dict)


def evaluate(cfg: DictConfig) -> Evaluation:
    """Evaluates a checkpoint, or stored proposals, on every test domain; writes ``results.json``, panels and csv files.

    Args:
        cfg: conf/evaluate.yaml.

    Raises:
        CheckpointError, DatasetError, InputError: bad input, before anything is computed.
    """
    from hydra.utils import instantiate

    plan = plan_of(cfg)
    trained = _load(cfg)
    data = instantiate(cfg.data.module, _convert_="object")
    data.prepare_data()
    data.setup("test")
    evaluation = Evaluation()
    for domain, source in _sources(cfg, plan, trained, data).items():
        start = time.monotonic()
        found = evaluate_domain(domain, source, data.datasets[f"test/{domain}"], plan)
        evaluation.seconds[f"evaluation/{domain}"] = time.monotonic() - start
        evaluation.metrics.update({f"{domain}/{key}": value for key, value in found.metrics.items()})
        evaluation.misses.update({f"{domain}/{key}": misses for key, misses in found.misses.items()})
        evaluation.domain_similarity[domain] = found.similarity
    result = {
        "experiment": cfg.experiment_name,
        "seed": cfg.seed,
        "metrics": evaluation.metrics,
        "domain_similarity": evaluation.domain_similarity,
        "seconds": evaluation.seconds,
        "versions": versions(),
    }
    write_json(plan.output / "results.json", result)
    return evaluation


def plan_of(cfg: DictConfig) -> Plan:
    """What a configuration asks for in every domain.

    Raises:
        InputError: an unknown setting, or one to draw or to look at that is not scored.
    """
    names = [cfg.settings] if isinstance(cfg.settings, str) else list(cfg.settings or paper_settings())
    detailed = cfg.detail_setting or (cfg.panel_setting if cfg.panel_setting in names else names[0])
    return Plan(
        tuple(parse_setting(name) for name in dict.fromkeys(names)),
        Path(cfg.output),
        panels=cfg.panels,
        panel_setting=cfg.panel_setting,
        wanted=Wanted(classes=cfg.details, instances=cfg.instances, oracles=cfg.oracles),
        detail_settings=(detailed,) if isinstance(detailed, str) else tuple(detailed),
    )


def _load(cfg: DictConfig) -> TrainedModel | None:
    """The network; ``None`` where proposals stand in its place."""
    if (cfg.checkpoint is None) == (cfg.proposals is None):
        raise InputError("give either checkpoint=PATH of a .ckpt written by opsnet-train, or proposals=FOLDER")
    if cfg.proposals is None:
        return load_checkpoint(cfg.checkpoint, clip_weights=cfg.clip_weights, device=cfg.device)
    if cfg.save_proposals:
        raise InputError("save_proposals=true needs the network: give checkpoint=PATH in place of proposals=FOLDER")
    return None


def _sources(cfg: DictConfig, plan: Plan, trained: TrainedModel | None, data: PanopticDataModule) -> dict[str, Source]:
    """Where each domain's outputs come from; what is wrong with any of them is found before the first is scored."""
    datasets: dict[str, Any] = {name: data.datasets[f"test/{name}"] for name in data.test_names}
    if trained is None:
        device, needed = pick_device(cfg.device), plan.sources
        return {k: StoredSource(open_domain(cfg.proposals, k), d, device, needed) for k, d in datasets.items()}
    sources: dict[str, Source] = {}
    stamp = fingerprint(cfg.checkpoint) if cfg.save_proposals else ""
    for (name, dataset), loader in zip(datasets.items(), data.test_dataloader(), strict=True):
        needed = tuple(sorted({*plan.sources, "pooling"})) if cfg.save_proposals else plan.sources
        source = NetworkSource(trained, loader, dataset, needed)
        if cfg.save_proposals:
            source.writer = ProposalWriter(
                plan.output / "proposals", name, text=source.text, vocabulary=dataset.vocabulary, checkpoint=stamp,
                batches=[len(batch) for batch in loader.batches], sources=needed, masks=cfg.proposal_masks,
            )  # fmt: skip
        sources[name] = source
    return sources


def run(cfg: DictConfig) -> None:
    """Evaluates and prints the figures as tables."""
    evaluation = evaluate(cfg)
    if not evaluation.metrics:
        raise InputError("data.module.test names no domain: choose a data group with test sets, e.g. data=scenes")
    if cfg.show:
        print_figures(evaluation.metrics, evaluation.misses)


def main() -> None:
    """Console entry point."""
    import hydra

    from opsnet.configuration import config_dir
    from opsnet.errors import one_sentence_errors

    with one_sentence_errors():
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="evaluate")(run)()


if __name__ == "__main__":
    main()
