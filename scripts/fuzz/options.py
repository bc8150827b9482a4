"""Options of evaluation, prediction, doctor and score, as their configurations give them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from omegaconf import DictConfig, OmegaConf

from opsnet.commands import score
from opsnet.commands.arguments import read_arguments
from opsnet.diagnosis.examine import KEYS, check_values
from opsnet.evaluation.options import EvaluationOptions
from opsnet.evaluation.options import option_values as evaluation_values
from opsnet.prediction.options import PredictionOptions
from opsnet.prediction.options import option_values as prediction_values
from scripts.fuzz.cases import Case
from scripts.fuzz.mutation import VALUES

COMMANDS = ("predict", "evaluate", "doctor", "score", "arguments")
WORDS = (
    "image=a.png", "vocabulary=cat, dog", "--top-k", "3", "threshold=0.9", "checkpoint=a=b.ckpt", "-m", "--help",
    "gt=a.json",
    "pred=b.json", "--json", "per_class=x", "x", "=", "a=", "=b", "--", "-", "data=coco", "vocabulary=[a, 'b", "\0",
    "é",
    "settings=full/cls,threshold=0.1", "modulation=alpha=5,beta=1", "vocabulary='x", "output=", "+a.b=1", "~a", "a b=c",
    "image=" + "x" * 3000, "\ud800", "top_k={", "filtering.threshold=[1,2]", "--cfg", "job",
    "vocabulary=${oc.env:HOME}",
)  # fmt: skip


def case(seed: int) -> Case:
    """Values for keys of one command's configuration, or the words of a command line."""
    rng = Random(seed)
    command = rng.choice(COMMANDS)
    if command in ("score", "arguments"):
        return Case(arguments={"command": command, "words": [rng.choice(WORDS) for _ in range(rng.randrange(5))]})
    keys = sorted(NAMED[command])
    changed = {rng.choice(keys): rng.choice(_VALUES) for _ in range(rng.choice([1, 1, 2, 3]))}
    return Case(arguments={"command": command, "changed": changed})


_VALUES = [value for value in VALUES if not (isinstance(value, str) and "${" in value)]
"""Interpolations are the user's own in a configuration, and may name what does not exist."""


@cache
def _base(command: str) -> DictConfig:
    config = OmegaConf.load(Path(__file__).parents[2] / "conf" / f"{command}.yaml")
    assert isinstance(config, DictConfig)
    for key in ("defaults", "hydra"):
        config.pop(key, None)
    config.output = "out"
    for group, keys in GROUPS.items():
        config[group] = keys
    return config


GROUPS: dict[str, Any] = {
    "modulation": {"alpha": 5, "beta": 0.25},
    "filtering": {"threshold": 0.1, "drop_no_object": True},
    "data": {"split": "test", "tuning_images": 0},
}
NAMED = {
    "predict": (
        "top_k", "batch_size", "path_margin", "unknown", "treat_label_names_as_seen", "modulation.alpha",
        "modulation.beta",
        "filtering.threshold", "filtering.drop_no_object", "overlap", "shortest", "longest", "device", "task", "front",
        "semantic", "output", "vocabulary", "masks", "image",
    ),
    "evaluate": (
        "seed", "overlap", "panels", "data.tuning_images", "details", "instances", "oracles", "filters.cls.threshold",
        "semantic_from_proposals", "save_proposals", "show", "device", "tune.threshold", "tune.overlap", "settings",
        "data.split", "tune",
    ),
    "doctor": tuple(KEYS),
}  # fmt: skip
NAMES = (
    *COMMANDS,
    "per_class",
    "json",
    *NAMED["predict"],
    *NAMED["evaluate"],
    *NAMED["doctor"],
    "gt",
    "pred",
    "key",
    "--",
)


def run(given: Case, folder: Path) -> None:
    """Reads the options as the command does, up to the point where it opens files."""
    command = given.arguments["command"]
    if command == "arguments":
        read_arguments(given.arguments["words"])
        return
    if command == "score":
        score.main(given.arguments["words"])
        return
    config = OmegaConf.merge(_base(command), {"image": "a.png", "vocabulary": "cat"})
    for key, value in given.arguments["changed"].items():
        OmegaConf.update(config, key, value, merge=False)
    _READ[command](config)


_READ: dict[str, Callable[[Any], object]] = {
    "predict": lambda config: PredictionOptions(**prediction_values(config)),
    "evaluate": lambda config: EvaluationOptions(**evaluation_values(config)),
    "doctor": lambda config: check_values(config, KEYS),
}
