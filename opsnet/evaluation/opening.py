"""Opens what an evaluation scores: a checkpoint's network, or stored proposals."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsnet.checkpoint.folder import fetch
from opsnet.checkpoint.reading import load_recognizer
from opsnet.checkpoint.stored_network import build_recognizer
from opsnet.data.loaders import EvaluationLoader
from opsnet.evaluation.data_hash import data_hashes
from opsnet.evaluation.ground_truth_masks import check_mask_classification
from opsnet.evaluation.options import EvaluationOptions
from opsnet.evaluation.plan import Plan
from opsnet.evaluation.sources import NetworkSource, Source, StoredSource
from opsnet.evaluation.store import FOLDER, ProposalWriter, open_domain, stored_origin
from opsnet.inference.config import InferenceConfig
from opsnet.inference.settings import recognizer_config
from opsnet.inference.trained_model import TrainedModel, pick_device
from opsnet.published.open_model import open_model
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.errors import InputError
from opsnet.utils.files import fingerprint


@dataclass(frozen=True)
class EvaluationTarget:
    """The model that is evaluated.

    Attributes:
        name: its name in messages.
        experiment: the experiment that trained it; ``None`` if unknown.
        inference: the inference settings of its validation.
        recognizer: the recognizer of its validation.
        trained: the network; ``None`` if stored proposals are evaluated.
        query_embeddings: whether it has trained query embeddings; a published Mask2Former has none.
    """

    name: str
    experiment: str | None
    inference: InferenceConfig
    recognizer: Recognizer
    trained: TrainedModel | None
    query_embeddings: bool = True


def open_target(options: EvaluationOptions) -> EvaluationTarget:
    """Loads the network, or opens the folder of stored proposals.

    Args:
        options: options of the evaluation.

    Raises:
        CheckpointError, ClipWeightsError, ProposalsError, InputError: it cannot be evaluated.
    """
    if (options.checkpoint is None) == (options.proposals is None):
        raise InputError("give either checkpoint=PATH of a .ckpt written by opsnet-train, or proposals=FOLDER")
    if options.checkpoint is not None:
        trained = open_model(
            options.checkpoint, clip=options.clip_model, clip_weights=options.clip_weights, device=options.device,
            treat_label_names_as_seen=options.treat_label_names_as_seen, train_vocabulary=options.train_vocabulary,
            ema=options.ema,
        )  # fmt: skip
        target = EvaluationTarget(
            f"checkpoint {options.checkpoint}", trained.experiment, trained.inference, trained.recognizer, trained,
            trained.model.has_query_embeddings,
        )  # fmt: skip
        return _with_recognizer_of(options.recognizer_from, target, options) if options.recognizer_from else target
    if options.save_proposals:
        raise InputError("save_proposals=true needs the network: give checkpoint=PATH instead of proposals=FOLDER")
    origin = stored_origin(str(options.proposals))
    inference = origin.inference or InferenceConfig.of({"overlap": 0.8})
    recognizer = build_recognizer(inference.recognizer, str(options.proposals))
    if origin.recognizer:  # earlier folders describe what was learned by the recognizer's arguments only
        load_recognizer(recognizer, origin.recognizer, str(options.proposals))
    name = f"proposals {options.proposals}"
    return EvaluationTarget(name, origin.experiment, inference, recognizer, None, origin.query_embeddings)


def _with_recognizer_of(other: str, target: EvaluationTarget, options: EvaluationOptions) -> EvaluationTarget:
    """The same model with the recognizer of another checkpoint instead of its own."""
    recognizer = open_model(
        other, clip_weights=options.clip_weights, device=options.device, key="recognizer_from"
    ).recognizer
    inference = dataclasses.replace(target.inference, recognizer=recognizer_config(recognizer))
    return dataclasses.replace(target, recognizer=recognizer, inference=inference)


def local_path(checkpoint: str) -> Path:
    """The file or folder of a checkpoint on this machine; of a Hub id, its cached snapshot."""
    path = Path(checkpoint).expanduser()
    return path if path.is_file() else fetch(checkpoint)


def open_sources(
    options: EvaluationOptions, plan: Plan, evaluated: EvaluationTarget, loaders: Mapping[str, EvaluationLoader], *,
    write: bool = True,
) -> Mapping[str, Source]:  # fmt: skip
    """The source of the outputs for each test domain; all domains are checked before the first is scored.

    Args:
        options: options of the evaluation.
        plan: what is computed.
        evaluated: the model.
        loaders: domain -> all its batches.
        write: whether this process writes what stored proposals have in common; one of several does.

    Raises:
        ProposalsError: stored proposals cannot be used, or cannot be written into the run's folder.
        InputError: the network lacks what a source of CLIP embeddings needs.
    """
    datasets: dict[str, Any] = {name: loader.dataset for name, loader in loaders.items()}
    trained, needed = evaluated.trained, plan.sources
    if plan.details.mask_classification:
        if trained is None:
            raise InputError("mask_classification=true needs the network: give checkpoint=PATH, not proposals=FOLDER")
        check_mask_classification(trained.model, plan.detailed)
    if trained is None:
        device = pick_device(options.device)
        return {k: StoredSource(open_domain(str(options.proposals), k), d, device, needed) for k, d in datasets.items()}
    if options.save_proposals:
        needed = tuple(sorted({*needed, "pooling"}))
        rules = dataclasses.asdict(evaluated.inference)
        made_by = {
            "checkpoint": fingerprint(local_path(str(options.checkpoint))),
            "experiment": evaluated.experiment,
            "rules": rules,
            **({} if options.ema else {"ema": False}),
            **({} if evaluated.query_embeddings else {"query_embeddings": False}),
        }
    sources: dict[str, Source] = {}
    for name, dataset in datasets.items():
        loader = loaders[name]
        source = NetworkSource(trained, loader, dataset, needed, classify=plan.details.mask_classification)
        if options.save_proposals:
            source.writer = ProposalWriter(
                plan.output / FOLDER, name, names=source.names, vocabulary=dataset.vocabulary,
                made_by={**made_by, "data": data_hashes(dataset)},
                batches=[len(batch) for batch in loader.batches], sources=needed, masks=options.proposal_masks,
                recognizer=evaluated.recognizer.state_dict(), write=write,
            )  # fmt: skip
        sources[name] = source
    return sources
