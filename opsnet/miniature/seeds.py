"""Results of several seeds: each ranking's values and verdict, and the main metrics as mean ± sd."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from opsnet.metrics.results import IN_DOMAIN, NOT_RUN, OUT_OF_DOMAIN, TUNED_NAMES, Results
from opsnet.miniature.rankings import Outcome, Ranking, check
from opsnet.visualization.tables import Table

Run = tuple[Results, Results | None]
"""A run's full model, and its model without cross-attention if it was trained."""

_SETTINGS = (
    ("CLIP, filter Cls", "clip_only", "cls"),
    ("CLIP", "clip_only", "cls_iou"),
    ("Query", "query_only", "cls_iou"),
    *((f"Query + {n} CLIP", f"ensemble_{n}", "cls_iou") for n in (1, 2, 3, 4)),
    ("Fusion alone", "fusion_only", "cls_iou"),
    ("OPSNet", "full", "cls_iou"),
)


@dataclass(frozen=True)
class SeedSummary:
    """One ranking over several runs.

    Attributes:
        ranking: the ranking.
        values: PQ points of each run, in order; ``None`` if metrics are missing.
        mean: mean of the available values; ``None`` without any.
        sd: their sample standard deviation; ``None`` with fewer than two.
        reproduced: number of runs that reproduced it.
        judged: number of runs in which it was judged (neither missing nor only reported).
    """

    ranking: Ranking
    values: tuple[float | None, ...]
    mean: float | None
    sd: float | None
    reproduced: int
    judged: int

    @property
    def reproduced_in_each(self) -> bool:
        """Whether it was judged and reproduced in every run."""
        return self.reproduced == self.judged == len(self.values) > 0


def mean_and_sd(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation of the available values."""
    present = [value for value in values if value is not None]
    mean = statistics.fmean(present) if present else None
    return mean, statistics.stdev(present) if len(present) > 1 else None


def summarize(runs: Sequence[Run]) -> tuple[SeedSummary, ...]:
    """Summarizes each ranking over all runs."""
    return tuple(_summary(outcomes) for outcomes in zip(*(check(*run) for run in runs), strict=True))


def _summary(outcomes: Sequence[Outcome]) -> SeedSummary:
    values = tuple(o.measured.value if o.measured else None for o in outcomes)
    verdicts = [o.verdict for o in outcomes]
    reproduced = verdicts.count("reproduced")
    judged = reproduced + verdicts.count("NOT reproduced")
    return SeedSummary(outcomes[0].ranking, values, *mean_and_sd(values), reproduced, judged)


def seed_rankings_table(runs: Sequence[Run]) -> Table:
    """Rankings by seed: the value of each seed, mean, sd, and the number of seeds that reproduced it."""
    seeds = tuple(f"seed {main.seed}" for main, _ in runs)
    rows = tuple(
        (
            s.ranking.name,
            s.ranking.need,
            *(_signed(value) for value in s.values),
            _signed(s.mean),
            "-" if s.sd is None else f"{s.sd:.2f}",
            _verdict(s),
        )
        for s in summarize(runs)
    )
    columns = ("Ranking", "Needed", *seeds, "mean", "sd", "Reproduced in")
    caption = "PQ points; sd: sample standard deviation over the seeds."
    return Table(f"Rankings over {len(runs)} seeds", caption, columns, rows)


def _verdict(summary: SeedSummary) -> str:
    if summary.ranking.relation is None:
        return "reported"
    return f"{summary.reproduced} of {summary.judged}" if summary.judged else NOT_RUN


def _signed(value: float | None) -> str:
    return NOT_RUN if value is None else f"{value:+.2f}"


def seed_metrics_table(runs: Sequence[Run]) -> Table:
    """PQ of the main settings: mean ± sd over seeds per domain, and each seed's in-domain and out-of-domain PQ."""
    mains = [main for main, _ in runs]
    baselines = [baseline for _, baseline in runs]
    rows = [_metrics(name, mains, recognition, filtering) for name, recognition, filtering in _SETTINGS]
    rows.append(_metrics("OPSNet without cross-attention", baselines, "full", "cls_iou"))
    for folder, name in TUNED_NAMES.items():
        tuned = [main.tuned.get(folder) for main in mains]
        if any(tuned):
            rows.append(_metrics(f"Table 3: {name}", tuned, "full", "cls_iou"))
    caption = "PQ in percent; filter Cls IoU unless stated. The last two columns list the seeds in order: " + ", ".join(
        str(main.seed) for main in mains
    )
    columns = (
        "Setting", "in-domain", "novel", "street", "out-of-domain mean", "in-domain, each seed",
        "out-of-domain mean, each seed",
    )  # fmt: skip
    return Table(f"PQ over {len(runs)} seeds", caption + ".", columns, tuple(rows))


def _metrics(name: str, models: Sequence[Results | None], recognition: str, filtering: str) -> tuple[str, ...]:
    places = [(IN_DOMAIN,), *((domain,) for domain in OUT_OF_DOMAIN), OUT_OF_DOMAIN]
    values = [[m.mean(place, recognition, filtering) if m else None for m in models] for place in places]
    each = [", ".join(NOT_RUN if v is None else f"{v:.1f}" for v in values[index]) for index in (0, -1)]
    return name, *(_spread(column) for column in values), *each


def _spread(values: Sequence[float | None]) -> str:
    mean, sd = mean_and_sd(values)
    if mean is None:
        return NOT_RUN
    return f"{mean:.1f}" if sd is None else f"{mean:.1f} ± {sd:.1f}"
