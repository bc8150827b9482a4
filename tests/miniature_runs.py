"""A handmade run in which every ranking is reproduced, and a writer that stores it as a finished run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from opsnet.metrics.results import Results

DOMAINS = ("scenes", "scenes_novel", "scenes_street")
Figures = dict[str, tuple[float, float, float]]
"""``<recognition>/<filter>`` -> PQ in domain, on novel and on street."""

# Out-of-domain means: CLIP 38 (34 by Cls), Query 36, fusion 45, full 46, ensembles 45, 44, 43, 42, crops 20 and 10.
MAIN: Figures = {
    "clip_only/cls": (50, 35, 33),
    "clip_only/iou": (54, 38, 36),
    "clip_only/cls_iou": (55, 39, 37),
    "query_only/cls": (67.8, 36.0, 35.4),
    "query_only/iou": (66, 35, 34),
    "query_only/cls_iou": (68, 36.5, 35.5),
    "full/cls": (67.8, 43, 41),
    "full/iou": (66, 45, 44),
    "full/cls_iou": (68, 47, 45),
    "fusion_only/cls_iou": (68, 46, 44),
    "ensemble_1/cls_iou": (67, 46, 44),
    "ensemble_2/cls_iou": (65, 45, 43),
    "ensemble_3/cls_iou": (63, 44, 42),
    "ensemble_4/cls_iou": (62, 43, 41),
    "cropping/cls_iou": (22, 21, 19),
    "masking/cls_iou": (12, 11, 9),
    "masked_attention/cls_iou": (57, 41, 39),
}
BASELINE: Figures = {
    "clip_only/cls": (49, 34, 32),
    "clip_only/cls_iou": (54, 38, 36),
    "query_only/cls": (67, 35, 34),
    "query_only/cls_iou": (67.5, 35.5, 34.5),
    "full/cls_iou": (67.5, 46, 44),
}
# Out-of-domain means: control 46.5, + Cls 48, + Mask 49.
TUNED: dict[str, tuple[float, float, float]] = {
    "control": (69, 47.5, 45.5),
    "cls": (68.5, 49, 47),
    "cls_masksum": (67.5, 50, 48),
    "distilled": (68.5, 49.5, 47.5),
}
# Mean over the unseen domains; the best, 46.25, is the interior cell (10, 0.25).
GRID = {
    0: (36, 37, 38, 36, 34),
    5: (43, 44, 44, 43, 41),
    10: (45, 46.25, 46, 44, 42),
    15: (44, 45, 45, 44, 42),
}
BETAS = (0, 0.25, 0.5, 0.75, 1)


def metrics_of(figures: Figures) -> dict[str, float]:
    """All five measures for each PQ: PQth two above PQ, PQst two below, SQ twenty above, RQ ten above."""
    shifts = {"PQ": 0, "PQth": 2, "PQst": -2, "SQ": 20, "RQ": 10}
    return {
        f"{domain}/{name}/{measure}": pq + shift
        for name, values in figures.items()
        for domain, pq in zip(DOMAINS, values, strict=True)
        for measure, shift in shifts.items()
    }


def grid_metrics(cells: dict[int, tuple[float, ...]]) -> dict[str, float]:
    """The grid: novel lies 1 above the given out-of-domain mean and street 1 below; in domain PQ is 68 everywhere."""
    return {
        f"{domain}/alpha={alpha:g},beta={beta:g}/cls_iou/PQ": value
        for alpha, line in cells.items()
        for beta, mean in zip(BETAS, line, strict=True)
        for domain, value in zip(DOMAINS, (68, mean + 1, mean - 1), strict=True)
    }


def tuned_of(figures: dict[str, tuple[float, float, float]]) -> dict[str, Results]:
    """The fine-tuned models."""
    return {name: Results(name, 3, metrics_of({"full/cls_iou": values})) for name, values in figures.items()}


def results_of(
    metrics: dict[str, float], seed: int = 3, tuned: dict[str, tuple[float, float, float]] = TUNED
) -> Results:
    """Results around ``metrics``."""
    return Results(
        experiment="scenes",
        seed=seed,
        metrics=metrics,
        domain_similarity={"scenes": 1.0, "scenes_novel": 0.9, "scenes_street": 0.75},
        seconds={"train": 330.25, "evaluate": 80.0},
        versions={"torch": "2.15.0"},
        tuned=tuned_of(tuned),
    )


@pytest.fixture
def made() -> SimpleNamespace:
    """The metrics and builders above, for tests that compose their own results."""
    return SimpleNamespace(
        main=MAIN,
        baseline=BASELINE,
        tuned=TUNED,
        grid=GRID,
        metrics=metrics_of,
        grid_metrics=grid_metrics,
        results=results_of,
    )


@pytest.fixture
def main() -> Results:
    """The full model: every ranking is reproduced."""
    return results_of(metrics_of(MAIN) | grid_metrics(GRID))


@pytest.fixture
def baseline() -> Results:
    """The model without cross-attention."""
    return results_of(metrics_of(BASELINE))


@pytest.fixture
def change(main: Results) -> Callable[..., Results]:
    """``change("full/cls_iou", (68, 40, 40))``: the full model's results with the PQs of one setting replaced."""

    def changed(name: str, values: tuple[float, float, float]) -> Results:
        return results_of({**main.metrics, **metrics_of({name: values})})

    return changed


@pytest.fixture
def write_run(main: Results, baseline: Results) -> Callable[..., Path]:
    """Writes both results into a folder like a finished run."""

    def write(folder: Path, *, seed: int = 3, with_baseline: bool = True, main: Results = main) -> Path:
        models = {".": main, **{f"{name}/evaluation": results for name, results in main.tuned.items()}}
        if with_baseline:
            models["no_cross_attention/evaluation"] = baseline
        for place, results in models.items():
            path = folder / place / "results.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({**vars(results), "tuned": None, "seed": seed}), encoding="utf-8")
        return folder

    return write
