"""What results were computed from, as hashes: ``made_from`` of ``results.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.evaluation.data_hash import data_hashes
from opsnet.evaluation.opening import EvaluationTarget, local_path
from opsnet.evaluation.options import EvaluationOptions
from opsnet.evaluation.plan import Plan
from opsnet.evaluation.sources import Source, StoredSource
from opsnet.inference.settings import Setting, recognizer_config
from opsnet.metrics.results import versions
from opsnet.utils.files import fingerprint
from opsnet.vocabulary import Vocabulary


def made_from(
    options: EvaluationOptions, target: EvaluationTarget, plan: Plan, sources: Mapping[str, Source],
    datasets: Mapping[str, PanopticDataset],
) -> dict[str, Any]:  # fmt: skip
    """Hashes, of 16 hex digits each, of the checkpoint, the settings and each domain's data and vocabulary.

    Args:
        options: options of the evaluation.
        target: the model.
        plan: what was scored.
        sources: domain -> source of the network's outputs.
        datasets: domain -> dataset.

    Returns:
        ``checkpoint``: of its bytes, also where its stored proposals were scored. ``settings``: of every setting and of
        the checkpoint's own inference settings. ``domains``: name -> the hashes of
        :func:`opsnet.evaluation.data_hash.data_hashes`, and ``vocabulary``. With stored proposals ``transform`` is the
        one that they were made with.
    """
    stored = {name: s.stored.about for name, s in sources.items() if isinstance(s, StoredSource)}
    domains = {name: _domain(datasets[name], stored.get(name)) for name in sources}
    given, stored_by = options.checkpoint, [about.get("checkpoint") for about in stored.values()]
    checkpoint = fingerprint(local_path(given)) if given is not None else next(iter(stored_by), None)
    settings = [_setting(setting) for setting in plan.settings]
    return {"checkpoint": checkpoint, "settings": _digest([settings, asdict(target.inference)]), "domains": domains}


def identity(origin: Mapping[str, Any], options: EvaluationOptions, sources: Mapping[str, Source]) -> dict[str, Any]:
    """What must be equal for an evaluation to continue: all that the results depend on but the number of devices.

    Args:
        origin: as returned by :func:`made_from`.
        options: options of the evaluation.
        sources: domain -> source, whose batches count too: images are padded to the largest of a batch.
    """
    kinds = {source.names.no_object_embed.device.type for source in sources.values()}
    given = {key: value for key, value in asdict(options).items() if key not in _NOT_SCORED}
    other = options.recognizer_from
    return {
        "checkpoint": origin["checkpoint"],
        "settings": origin["settings"],
        **{f"data of {name}": hashes for name, hashes in origin["domains"].items()},
        **{f"batches of {name}": _digest(list(source.sizes)) for name, source in sources.items()},
        **{f"option {key}": json.loads(json.dumps(value, default=repr)) for key, value in given.items()},
        **({} if other is None else {"recognizer_from": fingerprint(local_path(other))}),
        "kinds of devices": [*sorted(kinds), "cpu" if options.score_workers else "the same"],
        "versions": versions(),
    }


_NOT_SCORED = ("output", "device", "checkpoint", "proposals", "journal_every", "score_workers")
"""Options that may differ when an evaluation continues; of the checkpoint and the data, the content counts."""


def _domain(dataset: PanopticDataset, stored: Mapping[str, Any] | None) -> dict[str, Any]:
    hashes: dict[str, Any] = {**data_hashes(dataset), "vocabulary": vocabulary_hash(dataset.vocabulary)}
    if stored is not None:
        hashes["transform"] = (stored.get("data") or {}).get("transform")
    return hashes


def _setting(setting: Setting) -> list[Any]:
    recognizer = recognizer_config(setting.recognizer)
    return [setting.name, recognizer, setting.filtering.settings(), setting.clip_embeds, setting.overlap]


def vocabulary_hash(vocabulary: Vocabulary) -> str:
    """Of the names, synonyms, kinds and ids of all concepts in their order."""
    return _digest([vocabulary.name, vocabulary.categories()])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=repr).encode()).hexdigest()[:16]
