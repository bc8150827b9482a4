"""The rankings shown by the paper's tables, and whether a run of the miniature reproduces them.

A ranking is data: the claim, the paper's numbers, a measure (see ``measures``) and the threshold that it must reach.
"In-domain" is the training domain, "out-of-domain" the mean over the unseen domains. The thresholds are the miniature's
own, and exceed its noise where the effect is large; the paper itself shows directions, not margins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from opsnet.metrics.results import IN_DOMAIN, NOT_RUN, OUT_OF_DOMAIN, Results
from opsnet.miniature import measures
from opsnet.miniature.measures import Measure, Measured, difference
from opsnet.visualization.tables import Table

Relation = Literal[">=", ">", "<=", "=="]
Verdict = Literal["reproduced", "NOT reproduced", "not run", "reported"]

# Sums and differences of decimal percentages may miss a threshold by a few 1e-15.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Ranking:
    """One claim about the order of two or more results.

    Attributes:
        name: the claim.
        paper: the paper's numbers for it.
        measure: computes the number that is compared with ``threshold``.
        relation: the required relation of that number to ``threshold``; ``None``: reported, not judged.
        threshold: PQ points.
    """

    name: str
    paper: str
    measure: Measure
    relation: Relation | None = None
    threshold: float = 0.0

    @property
    def need(self) -> str:
        """The requirement as text."""
        return f"{self.relation} {self.threshold:g}" if self.relation else "-"


@dataclass(frozen=True)
class Outcome:
    """A ranking, its measurement in one run (``None``: metrics are missing), and the verdict."""

    ranking: Ranking
    measured: Measured | None
    verdict: Verdict


def holds(relation: Relation, value: float, threshold: float) -> bool:
    """Whether ``value`` has the ``relation`` to ``threshold``, with a tolerance for rounding except for "=="."""
    if relation == ">=":
        return value >= threshold - _ROUNDING
    if relation == ">":
        return value > threshold + _ROUNDING
    if relation == "<=":
        return value <= threshold + _ROUNDING
    return value == threshold


def check(main: Results, baseline: Results | None) -> tuple[Outcome, ...]:
    """The outcome of every ranking in one run, of the full model and, if trained, the one without cross-attention."""
    return tuple(Outcome(r, m := r.measure(main, baseline), _verdict(r, m)) for r in RANKINGS)


def _verdict(ranking: Ranking, measured: Measured | None) -> Verdict:
    if measured is None:
        return "not run"
    if ranking.relation is None:
        return "reported"
    return "reproduced" if holds(ranking.relation, measured.value, ranking.threshold) else "NOT reproduced"


def rankings_table(outcomes: Sequence[Outcome], *, brief: bool = False) -> Table:
    """One run's outcomes as a table; ``brief`` omits the paper's and the run's numbers, to fit a terminal."""
    columns = ("Ranking", "In the paper", "This run", "Measured", "Needed", "Verdict")
    rows = tuple(_row(outcome) for outcome in outcomes)
    shown = (0, 3, 4, 5) if brief else range(len(columns))
    caption = (
        "PQ points. In-domain: the training domain; out-of-domain: mean over the unseen domains. The thresholds are "
        "ours. docs/miniature.md of the source discusses rankings that were not reproduced."
    )
    return Table(
        "Rankings of the paper in this run",
        caption,
        tuple(columns[i] for i in shown),
        tuple(tuple(row[i] for i in shown) for row in rows),
        text_columns=1 if brief else 3,
    )


def _row(outcome: Outcome) -> tuple[str, ...]:
    ranking, measured = outcome.ranking, outcome.measured
    values = (measured.detail, f"{measured.value:+.2f}") if measured else (NOT_RUN, NOT_RUN)
    return ranking.name, ranking.paper, *values, ranking.need, outcome.verdict


_TRAINING = (IN_DOMAIN,)
_FILTER = ("cls_iou", "cls")


def _table_3(
    domains: Sequence[str],
    name: str,
    paper: str,
    compared: tuple[str, str],
    relation: Relation | None = None,
    threshold: float = 0.0,
    metric: str = "PQ",
) -> Ranking:
    """A ranking of two fine-tuned models on ``domains``."""
    return Ranking(name, paper, measures.tuned_difference(domains, *compared, metric), relation, threshold)


RANKINGS: tuple[Ranking, ...] = (
    Ranking(
        "In-domain: Query beats CLIP",
        "51.9 against 22.7 (Table 4)",
        difference(_TRAINING, "query_only", "clip_only"),
        ">=",
        5,
    ),
    Ranking(
        "In-domain: full equals Query exactly",
        "52.4 / 58.0 / 44.0 / 83.5 / 62.1 in both (Table 1, rows 6 and 7)",
        measures.identical_in_domain,
        "==",
        0,
    ),
    Ranking(
        "Out-of-domain: full beats Query",
        "17.7 against 14.6 (Table 1, rows 6 and 7)",
        difference(OUT_OF_DOMAIN, "full", "query_only"),
        ">=",
        5,
    ),
    Ranking(
        "Out-of-domain: full beats CLIP",
        "17.7 against 10.7 (Table 4)",
        difference(OUT_OF_DOMAIN, "full", "clip_only"),
        ">=",
        5,
    ),
    Ranking(
        "In-domain: Mask Filter lifts CLIP",
        "22.7 against 12.5 (Table 1, rows 2 and 3)",
        difference(_TRAINING, "clip_only", "clip_only", _FILTER),
        ">=",
        3,
    ),
    Ranking(
        "Out-of-domain: Mask Filter lifts CLIP",
        "10.7 against 4.9 (Table 1, rows 2 and 3)",
        difference(OUT_OF_DOMAIN, "clip_only", "clip_only", _FILTER),
        ">=",
        3,
    ),
    Ranking(
        "In-domain: Mask Pooling beats cropping and masking",
        "22.7 against 19.6 and 16.3 (Table 5)",
        measures.pooling_over_crops(_TRAINING),
        ">=",
        5,
    ),
    Ranking(
        "Out-of-domain: Mask Pooling beats cropping and masking",
        "10.7 against 9.4 and 6.7 (Table 5)",
        measures.pooling_over_crops(OUT_OF_DOMAIN),
        ">=",
        5,
    ),
    Ranking(
        "In-domain: PQ of fixed ensembles falls with each CLIP added",
        "51.4, 50.1, 47.9, 43.8 (Table 4)",
        measures.smallest_fall,
        ">",
        0,
    ),
    Ranking(
        "In-domain: full is near the best setting",
        "52.4, the best (Table 4)",
        measures.behind_best_setting(_TRAINING),
        "<=",
        1.5,
    ),
    Ranking(
        "Out-of-domain: full is near the best setting",
        "17.7; best 18.1, Query + 3 CLIP (Table 4)",
        measures.behind_best_setting(OUT_OF_DOMAIN),
        "<=",
        1.5,
    ),
    Ranking(
        "Out-of-domain: the best (alpha, beta) is interior",
        "17.9 at (15, 0.75), its largest alpha; falls to both sides in beta (Table 6)",
        measures.interior_lead,
        ">",
        0,
    ),
    Ranking(
        "Out-of-domain: (10, 0.5) is near the best (alpha, beta)",
        "17.7; best 17.9 at (15, 0.75) (Table 6)",
        measures.behind_best_cell,
        "<=",
        1,
    ),
    Ranking(
        "In-domain: filter Cls IoU is no worse than Cls and IoU",
        "+0.4 Query, +10.2 CLIP over Cls, +1.1 modulated (Table 7)",
        measures.product_over_factors(_TRAINING),
        ">=",
        -0.5,
    ),
    Ranking(
        "Out-of-domain: filter Cls IoU is no worse than Cls and IoU",
        "+0.2 Query, +5.8 CLIP over Cls, +0.4 modulated (Table 7)",
        measures.product_over_factors(OUT_OF_DOMAIN),
        ">=",
        -0.5,
    ),
    Ranking(
        "Out-of-domain: cross-attention helps full",
        "+0.1 for Query (Table 1, rows 5 and 6); full without it is not given",
        measures.cross_attention(OUT_OF_DOMAIN, "full"),
        ">",
        0,
    ),
    Ranking(
        "In-domain: cross-attention on Query",
        "+0.5 (Table 1, rows 5 and 6)",
        measures.cross_attention(_TRAINING, "query_only"),
    ),
    Ranking(
        "Out-of-domain: debiasing, full over fusion alone",
        "+0.8 (Table 4)",
        difference(OUT_OF_DOMAIN, "full", "fusion_only")
    ),
    Ranking(
        "In-domain: Mask Filter on Query",
        "+0.4 (Table 1, rows 4 and 5)",
        difference(_TRAINING, "query_only", "query_only", _FILTER),
    ),
    Ranking(
        "Out-of-domain: Mask Filter on Query",
        "+0.9 (Table 1, rows 4 and 5)",
        difference(OUT_OF_DOMAIN, "query_only", "query_only", _FILTER),
    ),
    _table_3(
        OUT_OF_DOMAIN, "Out-of-domain: image labels help (+ Cls Sup over as many steps without)",
        "18.2 against 17.7 (Table 3)", ("cls", "control"), ">=", 1,
    ),
    _table_3(
        OUT_OF_DOMAIN, "Out-of-domain: the sum of masks helps (+ Mask Sup over + Cls Sup)",
        "19.0 against 18.2 (Table 3)", ("cls_masksum", "cls"), ">=", 0,
    ),
    _table_3(
        OUT_OF_DOMAIN, "Out-of-domain: OPSNet+ over as many steps without labels",
        "19.0 against 17.7 (Table 3)", ("cls_masksum", "control"), ">=", 1,
    ),
    _table_3(
        _TRAINING, "In-domain: OPSNet+ costs little",
        "51.7 against 52.4 (Table 3)", ("cls_masksum", "control"), ">=", -2,
    ),
    _table_3(
        _TRAINING, "In-domain: OPSNet+ with distillation costs less",
        "not in the paper", ("distilled", "control"), ">=", -1,
    ),
    _table_3(
        OUT_OF_DOMAIN, "Out-of-domain: stuff, + Mask Sup over + Cls Sup (PQst)",
        "23.9 against 24.4 (Table 3)", ("cls_masksum", "cls"), metric="PQst",
    ),
    _table_3(OUT_OF_DOMAIN, "Out-of-domain: OPSNet+ with distillation", "not in the paper", ("distilled", "control")),
)  # fmt: skip
