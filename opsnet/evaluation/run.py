"""Evaluation: one forward pass per image, whose outputs are scored with any number of inference settings."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from omegaconf import DictConfig

from opsnet.data.loaders import EvaluationLoader
from opsnet.evaluation.comparison import check_comparison, compared_settings
from opsnet.evaluation.domains import DomainEvaluation, DomainMetrics
from opsnet.evaluation.exchange import Exchange
from opsnet.evaluation.journal import FOLDER, Journal
from opsnet.evaluation.opening import EvaluationTarget, open_sources, open_target
from opsnet.evaluation.options import EvaluationOptions, option_values
from opsnet.evaluation.origin import identity, made_from
from opsnet.evaluation.parameters import count_parameters
from opsnet.evaluation.plan import Plan, plan_of
from opsnet.evaluation.printing import print_comparison, print_metrics, print_rows, print_speed, print_tuned
from opsnet.evaluation.rows import asked_rows, rows_of_checkpoint
from opsnet.evaluation.scoring import scoring_processes
from opsnet.evaluation.share import merge, score_share, share_of
from opsnet.evaluation.sources import Source
from opsnet.evaluation.tuning import BestCell, best_of_grid
from opsnet.inference.config import InferenceConfig
from opsnet.metrics.confusions import Confusion
from opsnet.metrics.results import versions
from opsnet.paper.rows import TableRow
from opsnet.recognition.modulation import EmbeddingModulation
from opsnet.utils.errors import InputError, when_stopped
from opsnet.utils.files import write_json
from opsnet.utils.ranks import Ranks, is_distributed, other_rank, require_devices, start_ranks

log = logging.getLogger(__name__)
UNFINISHED = "unfinished.json"
"""The metrics of the domains so far, until ``results.json`` is written."""


@dataclass
class Evaluation:
    """The results of an evaluation.

    Attributes:
        metrics: in percent, by ``<domain>/<setting>/<measure>``.
        domain_similarity: s by domain.
        seconds: run time, by ``evaluation/<domain>``.
        kilobytes: size of the stored proposals per image, by domain.
        misses: the most common confusions, by ``<domain>/<setting>``.
        speed: images per second of the network and of the whole evaluation, by domain.
        parameters: numbers of parameters, see :func:`opsnet.evaluation.parameters.count_parameters`.
        rows: scored rows of the paper's tables.
        tuned: the best cell of ``tune``, by domain and setting.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    domain_similarity: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    kilobytes: dict[str, float] = field(default_factory=dict)
    misses: dict[str, list[Confusion]] = field(default_factory=dict)
    speed: dict[str, dict[str, float]] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    rows: tuple[TableRow, ...] = ()
    tuned: dict[str, dict[str, BestCell]] = field(default_factory=dict)

    def add(self, domain: str, results: DomainMetrics, seconds: float, source: Source) -> None:
        """Adds the results of a domain."""
        self.seconds[f"evaluation/{domain}"] = seconds
        self.metrics.update({f"{domain}/{key}": value for key, value in results.metrics.items()})
        self.misses.update({f"{domain}/{key}": misses for key, misses in results.misses.items()})
        self.domain_similarity[domain] = results.similarity
        if results.speed:
            self.speed[domain] = results.speed
        if source.bytes_written:
            self.kilobytes[domain] = source.bytes_written / 1000 / sum(source.sizes)


@dataclass(frozen=True)
class Opened:
    """What is evaluated, checked before other processes start.

    Attributes:
        options: of the evaluation.
        target: the model.
        rows: rows of the paper's tables that are scored.
        plan: what to compute.
        loaders: the batches of all test sets by domain; of one process, whatever their number, since the largest image
            of a batch determines its padding.
    """

    options: EvaluationOptions
    target: EvaluationTarget
    rows: tuple[TableRow, ...]
    plan: Plan
    loaders: dict[str, EvaluationLoader]

    @property
    def datasets(self) -> dict[str, Any]:
        """The test sets by domain."""
        return {name: loader.dataset for name, loader in self.loaders.items()}

    def on(self, device: str) -> Opened:
        """The same with the model, if there is one, on this device."""
        if self.target.trained is not None and device != "auto":
            self.target.trained.model.to(device)
        return replace(self, options=replace(self.options, device=device))


def evaluate(cfg: DictConfig) -> Evaluation:
    """Evaluates a checkpoint, or stored proposals, on every test domain; writes ``results.json``, panels and csv files.

    With ``trainer=ddp`` each process scores its share of the batches; the first one returns and writes the results, the
    others an empty one.

    Args:
        cfg: conf/evaluate.yaml.

    Raises:
        CheckpointError, DatasetError, InputError: bad input, before anything is computed.
        KeyboardInterrupt, Stopped: after a signal; the same command with the same output continues.
    """
    options, trainer = EvaluationOptions(**option_values(cfg)), cfg.get("trainer")
    several = is_distributed(trainer)
    if several and other_rank():
        logging.getLogger("opsnet").setLevel(logging.ERROR)  # the first process says it
    require_devices(trainer, options.device)
    opened = _open(cfg, replace(options, device="cpu") if several else options)
    with start_ranks(trainer, options.device) as ranks:
        return _score(opened.on(ranks.device), ranks)


def _open(cfg: DictConfig, options: EvaluationOptions) -> Opened:
    from hydra.utils import instantiate

    check_comparison(options)
    rows = asked_rows(options)
    if options.table is None and options.compare is None:  # refuses invalid settings before the network is built
        plan_of(options, InferenceConfig({}), EmbeddingModulation())
    target = open_target(options)
    rows = rows_of_checkpoint(rows, target.experiment, trained_as=options.trained_as, name=target.name)
    given, queries = _given_settings(options, target, rows), target.query_embeddings
    plan = plan_of(options, target.inference, target.recognizer, given, query_embeddings=queries)
    if queries:
        _log_notes(options, target.inference)
    data = instantiate(cfg.data.module, _convert_="object")
    data.prepare_data()
    data.setup("test")
    names = [setting.name for setting in plan.settings]
    loaders = dict(zip(data.test_names, data.test_dataloader(), strict=True))
    return Opened(options, target, tuple(row for row in rows if row.setting in names), plan, loaders)


def _score(opened: Opened, ranks: Ranks) -> Evaluation:
    options, plan, found = opened.options, opened.plan, Evaluation(rows=opened.rows)
    if (trained := opened.target.trained) is not None:
        found.parameters = count_parameters(trained.model, opened.target.recognizer)
    journal = Journal(plan.output / FOLDER)
    exchange = Exchange(journal.folder, ranks)
    with closing(journal), when_stopped(lambda: _kept(found, options)), exchange.reported():
        sources = open_sources(options, plan, opened.target, opened.loaders, write=ranks.is_main)
        origin: dict[str, Any] = {}

        def begin() -> dict[str, list[int]]:
            origin.update(made_from(options, opened.target, plan, sources, opened.datasets))
            journal.open(identity(origin, options, sources))
            return {domain: journal.covered(domain) for domain in sources}

        covered = exchange.from_main(begin)
        with scoring_processes(options.score_workers, journal.folder, options.journal_every) as scoring_of:
            for domain, source in sources.items():
                start = time.monotonic()
                names = source.names.to("cpu") if options.score_workers else source.names
                evaluation = DomainEvaluation(domain, names, opened.datasets[domain], plan)
                chosen = share_of(len(source.sizes), covered[domain], ranks.rank, ranks.count)
                score_share(domain, source, chosen, scoring_of(evaluation), check=exchange.check, show=ranks.is_main)
                if ranks.is_main:
                    merge(evaluation, journal, len(source.sizes), exchange.check)
                    found.add(domain, evaluation.finish(), time.monotonic() - start, source)
                    write_json(plan.output / UNFINISHED, {"metrics": found.metrics})
        if ranks.is_main:
            _write(found, opened, origin)
            journal.remove()
    return found


def _write(found: Evaluation, opened: Opened, origin: dict[str, Any]) -> None:
    """Writes ``results.json``."""
    options, plan = opened.options, opened.plan
    found.tuned = best_of_grid(plan.settings, found.metrics, list(opened.loaders)) if options.tune else {}
    result = {
        "experiment": options.experiment_name,
        "seed": options.seed,
        "trained_as": options.trained_as or opened.target.experiment,
        "rows": {row.name: row.setting for row in found.rows},
        "metrics": found.metrics,
        "domain_similarity": found.domain_similarity,
        "tuned": {
            domain: {name: asdict(best) for name, best in by_setting.items()}
            for domain, by_setting in found.tuned.items()
        },
        "seconds": found.seconds,
        "speed": found.speed,
        "parameters": found.parameters,
        "proposal_kilobytes_a_picture": found.kilobytes,  # a key of results.json stays as it was
        "made_from": origin,
        "versions": versions(),
    }
    write_json(plan.output / "results.json", result)
    (plan.output / UNFINISHED).unlink(missing_ok=True)


def _kept(found: Evaluation, options: EvaluationOptions) -> str:
    """What a signal leaves of an evaluation."""
    again = f"the same command with hydra.run.dir={options.output} continues"
    if not found.seconds:
        return again
    done = ", ".join(key.removeprefix("evaluation/") for key in found.seconds)
    return f"the metrics of {done} are in {options.output / UNFINISHED}; {again}"


def _given_settings(options: EvaluationOptions, target: EvaluationTarget, rows: Sequence[TableRow]) -> list[str] | None:
    """Names of the settings of ``table`` or ``compare``; ``None`` without either."""
    if options.compare is not None:
        config, queries = target.inference.recognizer, target.query_embeddings
        return compared_settings(config, target.recognizer, query_embeddings=queries)
    return None if options.table is None else [row.measured_as for row in rows]


def _log_notes(options: EvaluationOptions, inference: InferenceConfig) -> None:
    """Logs which settings are skipped by default, and warns if thresholds would be tuned on training images."""
    if not (options.settings or options.table is not None or options.compare is not None or options.tune):
        log.info(
            "skipped masking/cls_iou and cropping/cls_iou (Table 5), which run CLIP once per proposal, and "
            "masked_attention/cls_iou, which runs it once more per image: add them to `settings`, or give table=5"
        )
    if options.split == "tuning" and inference.tuning_images < options.tuning_images:
        log.warning(
            "the checkpoint was trained with data.tuning_images=%d, so it has seen images of data.split=tuning: "
            "thresholds chosen on them are too high", inference.tuning_images,
        )  # fmt: skip


def evaluate_and_print(cfg: DictConfig) -> None:
    """Evaluates and, with ``cfg.show``, prints the metrics as tables; of several processes only the first prints.

    Raises:
        InputError: there is no domain to evaluate on; see also :func:`evaluate`.
    """
    found = evaluate(cfg)
    if is_distributed(cfg.get("trainer")) and other_rank():
        return
    if not found.metrics:
        raise InputError("data.module.test has no domain: choose a data group with test sets, e.g. data=scenes")
    if cfg.show:
        if cfg.get("compare"):
            print_comparison(found.metrics, list(found.domain_similarity))
        else:
            print_metrics(found.metrics, found.misses)
        print_speed(found.speed, found.parameters)
        print_tuned(found.tuned)
        print_rows(found.rows, found.metrics, list(found.domain_similarity))
        for domain, size in found.kilobytes.items():
            print(f"proposals of {domain}: {size:.0f} kB per image in {cfg.output}/proposals/{domain}")
