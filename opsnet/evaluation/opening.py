"""What an evaluation scores: a checkpoint's network, or proposals on the disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from opsnet.checkpoint.loading import load_checkpoint
from opsnet.checkpoint.reading import load_recognizer
from opsnet.checkpoint.stored_network import build_recognizer
from opsnet.data.datamodule import PanopticDataModule
from opsnet.evaluation.plan import Plan
from opsnet.evaluation.sources import NetworkSource, Source, StoredSource
from opsnet.evaluation.store import FOLDER, ProposalWriter, fingerprint, open_domain, stored_origin
from opsnet.inference.config import InferenceConfig
from opsnet.inference.settings import recognizer_config
from opsnet.inference.trained_model import TrainedModel, pick_device
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.errors import InputError


@dataclass(frozen=True)
class Scored:
    """What is scored.

    Attributes:
        name: for messages.
        experiment: that trained it; ``None`` where that is not known.
        inference: how it was validated.
        recognizer: what it was validated with.
        trained: the network; ``None`` where proposals stand in its place.
    """

    name: str
    experiment: str | None
    inference: InferenceConfig
    recognizer: Recognizer
    trained: TrainedModel | None


def open_scored(cfg: DictConfig) -> Scored:
    """Loads the network, or looks at the folder of proposals.

    Args:
        cfg: conf/evaluate.yaml.

    Raises:
        CheckpointError, ClipWeightsError, ProposalsError, InputError: it cannot be used.
    """
    if (cfg.checkpoint is None) == (cfg.proposals is None):
        raise InputError("give either checkpoint=PATH of a .ckpt written by opsnet-train, or proposals=FOLDER")
    if cfg.proposals is None:
        trained = load_checkpoint(
            cfg.checkpoint, clip_weights=cfg.clip_weights, device=cfg.device, label_names_known=cfg.label_names_known
        )
        scored = Scored(
            f"checkpoint {cfg.checkpoint}", trained.experiment, trained.inference, trained.recognizer, trained
        )
        return _with_recognizer_of(cfg.recognizer_from, scored, cfg) if cfg.recognizer_from else scored
    if cfg.save_proposals:
        raise InputError("save_proposals=true needs the network: give checkpoint=PATH in place of proposals=FOLDER")
    experiment, inference, weights = stored_origin(cfg.proposals)
    inference = inference or InferenceConfig.of({"overlap": 0.8})
    recognizer = build_recognizer(inference.recognizer, str(cfg.proposals))
    if weights:  # earlier folders describe what was learned by the recognizer's arguments alone
        load_recognizer(recognizer, weights, str(cfg.proposals))
    return Scored(f"what {cfg.proposals} holds", experiment, inference, recognizer, None)


def _with_recognizer_of(other: str, scored: Scored, cfg: DictConfig) -> Scored:
    """The same with the recognizer of another checkpoint in the place of its own."""
    recognizer = load_checkpoint(other, clip_weights=cfg.clip_weights, device=cfg.device).recognizer
    inference = dataclasses.replace(scored.inference, recognizer=recognizer_config(recognizer))
    return dataclasses.replace(scored, recognizer=recognizer, inference=inference)


def open_sources(cfg: DictConfig, plan: Plan, scored: Scored, data: PanopticDataModule) -> Mapping[str, Source]:
    """Where each test domain's outputs come from; faults of any domain are found before the first is scored.

    Raises:
        ProposalsError: proposals cannot be used, or cannot be kept in the run's folder.
    """
    datasets: dict[str, Any] = {name: data.datasets[f"test/{name}"] for name in data.test_names}
    trained, needed = scored.trained, plan.sources
    if trained is None:
        device = pick_device(cfg.device)
        return {k: StoredSource(open_domain(cfg.proposals, k), d, device, needed) for k, d in datasets.items()}
    if cfg.save_proposals:
        needed = tuple(sorted({*needed, "pooling"}))
        rules = dataclasses.asdict(scored.inference)
        made_by = {"checkpoint": fingerprint(cfg.checkpoint), "experiment": scored.experiment, "rules": rules}
    sources: dict[str, Source] = {}
    for (name, dataset), loader in zip(datasets.items(), data.test_dataloader(), strict=True):
        source = NetworkSource(trained, loader, dataset, needed)
        if cfg.save_proposals:
            source.writer = ProposalWriter(
                plan.output / FOLDER, name, names=source.names, vocabulary=dataset.vocabulary, made_by=made_by,
                batches=[len(batch) for batch in loader.batches], sources=needed, masks=cfg.proposal_masks,
                recognizer=scored.recognizer.state_dict(),
            )  # fmt: skip
        sources[name] = source
    return sources
