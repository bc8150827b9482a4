"""One evaluation's ``results.json`` as a typed object, with the look-ups that tables and rankings need.

Metrics are named ``<domain>/<recognition>/<filter>/<measure>``, e.g. ``scenes_novel/full/cls_iou/PQ``; in percent.
"""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from opsnet.utils.errors import InputError

IN_DOMAIN = "scenes"
"""The training domain, corresponding to the paper's COCO."""

OUT_OF_DOMAIN = ("scenes_novel", "scenes_street")
"""Domains whose vocabularies were not trained, corresponding to ADE20K and Cityscapes."""

NOT_RUN = "not run"

FULL_CELL = (10.0, 0.5)
"""The paper's (alpha, beta), used by the recognition ``full``."""

GRID_CELL = re.compile(r"alpha=(?P<alpha>[^,/]+),beta=(?P<beta>[^/]+)/(?P<filter>[^/]+)")
"""The name of a setting in the grid of Table 6."""

SAME = ("annotations", "images", "vocabulary", "instances")
"""What is equal in results that may be compared."""

_GRID_KEY = re.compile(rf"(?P<domain>[^/]+)/{GRID_CELL.pattern}/PQ")


class ResultsError(InputError):
    """A results file that is missing or malformed; the message says how to get one."""


@dataclass(frozen=True)
class Results:
    """The results of one evaluated model.

    Attributes:
        experiment: name of the experiment.
        seed: the run's seed.
        metrics: metric name (see the module docstring) -> percent.
        domain_similarity: domain -> s in -1..1 (1: the training vocabulary covers the domain's).
        seconds: phase -> wall-clock seconds.
        versions: package -> version.
        trained_as: the experiment that trained the model, if the evaluation states it.
        tuned: name -> results of the models that were fine-tuned from this one (Table 3).
        data: domain -> hashes of its annotations, images and vocabulary; earlier versions stored none.
    """

    experiment: str
    seed: int
    metrics: Mapping[str, float]
    domain_similarity: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    trained_as: str | None = None
    tuned: Mapping[str, Results] = field(default_factory=dict)
    data: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def metric(self, domain: str, recognition: str, filtering: str = "cls_iou", measure: str = "PQ") -> float | None:
        """One metric in percent, or ``None`` if the evaluation did not produce it (or produced NaN)."""
        return self.value(f"{domain}/{recognition}/{filtering}/{measure}")

    def value(self, name: str) -> float | None:
        """The metric with this full name, likewise."""
        value = self.metrics.get(name)
        return float(value) if value is not None and math.isfinite(value) else None

    def mean(
        self, domains: Sequence[str], recognition: str, filtering: str = "cls_iou", measure: str = "PQ"
    ) -> float | None:
        """Mean over ``domains`` in percent; ``None`` unless every domain has the metric."""
        # A mean over an incomplete set of domains would look comparable but not be.
        values = [self.metric(domain, recognition, filtering, measure) for domain in domains]
        present = [value for value in values if value is not None]
        return sum(present) / len(present) if present and len(present) == len(values) else None


def load_results(path: Path) -> Results:
    """Reads a ``results.json``.

    Raises:
        ResultsError: the file does not exist, or lacks the experiment, the seed or the metrics.
    """
    if not path.is_file():
        raise ResultsError(f"{path} does not exist: give the folder of a finished `make run`")
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        metrics = {str(k): float(v) for k, v in data["metrics"].items() if v is not None}
        optional = {key: dict(data.get(key) or {}) for key in ("domain_similarity", "seconds", "versions")}
        domains = {name: dict(hashes) for name, hashes in (data.get("made_from") or {}).get("domains", {}).items()}
        return Results(
            str(data["experiment"]), int(data["seed"]), metrics, **optional, trained_as=data.get("trained_as"),
            data=domains,
        )  # fmt: skip
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ResultsError(
            f"{path} is not the results.json of an evaluation ({error!r}): evaluate the run again"
        ) from error


def require_same_data(results: Mapping[str, Results], domains: Collection[str] | None = None) -> None:
    """Checks that evaluations to be compared were made on the same data; those of earlier versions do not say.

    Args:
        results: name in messages, such as the folder -> evaluation.
        domains: domains that are compared; ``None``: all.

    Raises:
        ResultsError: two have different annotations, images or vocabularies of a domain.
    """
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for name, result in results.items():
        for domain, hashes in result.data.items():
            if domains is not None and domain not in domains:
                continue
            for key in SAME:
                other, known = first.setdefault((domain, key), (name, str(hashes.get(key))))
                if known != str(hashes.get(key)):
                    raise ResultsError(
                        f"{other} and {name} were evaluated on different {key} of '{domain}', so they cannot be "
                        "compared: evaluate both again on the same data, or move one of them away"
                    )


TUNED = {
    "control": "scenes_plus_control",
    "cls": "opsnet_plus_r50_cls",
    "cls_masksum": "opsnet_plus_r50",
    "distilled": "opsnet_plus_r50",
}
"""The fine-tuning runs: folder -> experiment. The control trains the same number of steps on panoptic images only."""

TUNED_NAMES = {
    "control": "as many steps without labels (ours)",
    "cls": "+ Cls Sup",
    "cls_masksum": "+ Cls Sup + Mask Sup",
    "distilled": "the same with distillation (ours)",
}
"""Their headings in tables."""


def load_run(run: Path) -> tuple[Results, Results | None]:
    """A run's full model with the models fine-tuned from it, and its model without cross-attention if trained.

    Raises:
        ResultsError: a file is not the results of an evaluation, or they are of different data.
    """
    files = {name: run / name / "evaluation" / "results.json" for name in ("no_cross_attention", *TUNED)}
    found = {name: load_results(file) for name, file in files.items() if file.is_file()}
    require_same_data({str(run): load_results(run / "results.json"), **{str(run / k): v for k, v in found.items()}})
    baseline = found.pop("no_cross_attention", None)
    return replace(load_results(run / "results.json"), tuned=found), baseline


def grid(
    metrics: Mapping[str, float], domains: Sequence[str], filtering: str = "cls_iou"
) -> dict[tuple[float, float], float]:
    """(alpha, beta) -> PQ in percent, averaged over ``domains``; only cells that every domain has."""
    cells: dict[tuple[float, float], dict[str, float]] = {}
    for key, value in metrics.items():
        match = _GRID_KEY.fullmatch(key)
        if match and match["filter"] == filtering and match["domain"] in domains and math.isfinite(value):
            cells.setdefault((float(match["alpha"]), float(match["beta"])), {})[match["domain"]] = value
    full = {cell: found for cell, found in cells.items() if len(found) == len(set(domains))}
    return {cell: sum(found.values()) / len(found) for cell, found in sorted(full.items())}


def percent(value: float | None, digits: int = 1) -> str:
    """A percentage as text, or "not run"."""
    return NOT_RUN if value is None else f"{value:.{digits}f}"


def versions() -> dict[str, str]:
    """Versions of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in ("opsnet", "torch", "torchvision", "lightning", "timm", "open_clip_torch", "numpy", "scipy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
