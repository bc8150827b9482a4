"""The orderings that the paper's tables show, and whether one run of the miniature shows them too.

An ordering is data: the claim, what the paper shows for it, a measure (see ``measures``) and what it must reach.
"Home" is the training domain, "abroad" the mean of the foreign domains. The thresholds are the miniature's own and
ask for more than its noise where the effect is large; the paper itself shows directions, not margins.
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
Verdict = Literal["held", "NOT held", "not run", "reported"]

# Sums and differences of decimal percents land a few 1e-15 beside a threshold.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Ordering:
    """One ordering.

    Attributes:
        name: what is claimed.
        paper: what the paper shows for it.
        measure: what is measured in a run.
        relation: how the measured number must lie to ``threshold``; ``None``: reported, not judged.
        threshold: PQ points.
    """

    name: str
    paper: str
    measure: Measure
    relation: Relation | None = None
    threshold: float = 0.0

    @property
    def need(self) -> str:
        """The rule as text."""
        return f"{self.relation} {self.threshold:g}" if self.relation else "-"


@dataclass(frozen=True)
class Outcome:
    """An ordering, what one run measured for it (``None``: figures missing), and the verdict."""

    ordering: Ordering
    measured: Measured | None
    verdict: Verdict


def holds(relation: Relation, value: float, threshold: float) -> bool:
    """Whether ``value`` lies to ``threshold`` as ``relation`` says; rounding is forgiven except in "=="."""
    if relation == ">=":
        return value >= threshold - _ROUNDING
    if relation == ">":
        return value > threshold + _ROUNDING
    if relation == "<=":
        return value <= threshold + _ROUNDING
    return value == threshold


def check(main: Results, baseline: Results | None) -> tuple[Outcome, ...]:
    """Every ordering's outcome in one run: the full model, and the model without cross-attention if it was trained."""
    return tuple(Outcome(o, m := o.measure(main, baseline), _verdict(o, m)) for o in ORDERINGS)


def _verdict(ordering: Ordering, measured: Measured | None) -> Verdict:
    if measured is None:
        return "not run"
    if ordering.relation is None:
        return "reported"
    return "held" if holds(ordering.relation, measured.value, ordering.threshold) else "NOT held"


def orderings_table(outcomes: Sequence[Outcome], *, brief: bool = False) -> Table:
    """One run's outcomes as a table; ``brief`` leaves out the paper's and the run's figures, for a terminal."""
    columns = ("Ordering", "In the paper", "Figures of this run", "Measured", "Needed", "Verdict")
    rows = tuple(_row(outcome) for outcome in outcomes)
    kept = (0, 3, 4, 5) if brief else range(len(columns))
    caption = (
        "PQ points. Home: the training domain; abroad: mean of the foreign domains. The thresholds are ours. "
        "What was tried for orderings that do not hold is in docs/miniature.md of the source."
    )
    return Table(
        "Orderings of the paper in this run",
        caption,
        tuple(columns[i] for i in kept),
        tuple(tuple(row[i] for i in kept) for row in rows),
        text_columns=1 if brief else 3,
    )


def _row(outcome: Outcome) -> tuple[str, ...]:
    ordering, measured = outcome.ordering, outcome.measured
    figures = (measured.detail, f"{measured.value:+.2f}") if measured else (NOT_RUN, NOT_RUN)
    return ordering.name, ordering.paper, *figures, ordering.need, outcome.verdict


_AT_HOME = (IN_DOMAIN,)
_FILTER = ("cls_iou", "cls")

ORDERINGS: tuple[Ordering, ...] = (
    Ordering(
        "Home: Query beats CLIP",
        "51.9 against 22.7 (Table 4)",
        difference(_AT_HOME, "query_only", "clip_only"),
        ">=",
        5,
    ),
    Ordering(
        "Home: full equals Query to the digit",
        "52.4 / 58.0 / 44.0 / 83.5 / 62.1 in both (Table 1, rows 6 and 7)",
        measures.identical_in_domain,
        "==",
        0,
    ),
    Ordering(
        "Abroad: full beats Query",
        "17.7 against 14.6 (Table 1, rows 6 and 7)",
        difference(OUT_OF_DOMAIN, "full", "query_only"),
        ">=",
        5,
    ),
    Ordering(
        "Abroad: full beats CLIP",
        "17.7 against 10.7 (Table 4)",
        difference(OUT_OF_DOMAIN, "full", "clip_only"),
        ">=",
        5,
    ),
    Ordering(
        "Home: Mask Filter lifts CLIP",
        "22.7 against 12.5 (Table 1, rows 2 and 3)",
        difference(_AT_HOME, "clip_only", "clip_only", _FILTER),
        ">=",
        3,
    ),
    Ordering(
        "Abroad: Mask Filter lifts CLIP",
        "10.7 against 4.9 (Table 1, rows 2 and 3)",
        difference(OUT_OF_DOMAIN, "clip_only", "clip_only", _FILTER),
        ">=",
        3,
    ),
    Ordering(
        "Home: Mask Pooling beats cropping and masking",
        "22.7 against 19.6 and 16.3 (Table 5)",
        measures.pooling_over_crops(_AT_HOME),
        ">=",
        5,
    ),
    Ordering(
        "Abroad: Mask Pooling beats cropping and masking",
        "10.7 against 9.4 and 6.7 (Table 5)",
        measures.pooling_over_crops(OUT_OF_DOMAIN),
        ">=",
        5,
    ),
    Ordering(
        "Home: fixed ensembles fall with each CLIP added",
        "51.4, 50.1, 47.9, 43.8 (Table 4)",
        measures.smallest_fall,
        ">",
        0,
    ),
    Ordering(
        "Home: full is near the best setting",
        "52.4, the best (Table 4)",
        measures.behind_best_setting(_AT_HOME),
        "<=",
        1.5,
    ),
    Ordering(
        "Abroad: full is near the best setting",
        "17.7; best 18.1, Query + 3 CLIP (Table 4)",
        measures.behind_best_setting(OUT_OF_DOMAIN),
        "<=",
        1.5,
    ),
    Ordering(
        "Abroad: the best (alpha, beta) is interior",
        "17.9 at (15, 0.75), its largest alpha; falls to both sides in beta (Table 6)",
        measures.interior_lead,
        ">",
        0,
    ),
    Ordering(
        "Abroad: (10, 0.5) is near the best (alpha, beta)",
        "17.7; best 17.9 at (15, 0.75) (Table 6)",
        measures.behind_best_cell,
        "<=",
        1,
    ),
    Ordering(
        "Home: filter Cls IoU is no worse than Cls and IoU",
        "+0.4 Query, +10.2 CLIP over Cls, +1.1 modulated (Table 7)",
        measures.product_over_factors(_AT_HOME),
        ">=",
        -0.5,
    ),
    Ordering(
        "Abroad: filter Cls IoU is no worse than Cls and IoU",
        "+0.2 Query, +5.8 CLIP over Cls, +0.4 modulated (Table 7)",
        measures.product_over_factors(OUT_OF_DOMAIN),
        ">=",
        -0.5,
    ),
    Ordering(
        "Abroad: cross-attention helps full",
        "+0.1 for Query (Table 1, rows 5 and 6); full without it is not given",
        measures.cross_attention(OUT_OF_DOMAIN, "full"),
        ">",
        0,
    ),
    Ordering(
        "Home: cross-attention on Query",
        "+0.5 (Table 1, rows 5 and 6)",
        measures.cross_attention(_AT_HOME, "query_only"),
    ),
    Ordering(
        "Abroad: debiasing, full over fusion alone", "+0.8 (Table 4)", difference(OUT_OF_DOMAIN, "full", "fusion_only")
    ),
    Ordering(
        "Home: Mask Filter on Query",
        "+0.4 (Table 1, rows 4 and 5)",
        difference(_AT_HOME, "query_only", "query_only", _FILTER),
    ),
    Ordering(
        "Abroad: Mask Filter on Query",
        "+0.9 (Table 1, rows 4 and 5)",
        difference(OUT_OF_DOMAIN, "query_only", "query_only", _FILTER),
    ),
    Ordering(
        "Abroad: image labels help (+ Cls Sup over as many steps without)",
        "18.2 against 17.7 (Table 3)",
        measures.tuned_difference(OUT_OF_DOMAIN, "cls", "control"),
        ">=",
        1,
    ),
    Ordering(
        "Abroad: the sum of masks helps (+ Mask Sup over + Cls Sup)",
        "19.0 against 18.2 (Table 3)",
        measures.tuned_difference(OUT_OF_DOMAIN, "cls_masksum", "cls"),
        ">=",
        0,
    ),
    Ordering(
        "Abroad: OPSNet+ over as many steps without labels",
        "19.0 against 17.7 (Table 3)",
        measures.tuned_difference(OUT_OF_DOMAIN, "cls_masksum", "control"),
        ">=",
        1,
    ),
    Ordering(
        "Home: OPSNet+ costs little",
        "51.7 against 52.4 (Table 3)",
        measures.tuned_difference(_AT_HOME, "cls_masksum", "control"),
        ">=",
        -2,
    ),
    Ordering(
        "Home: OPSNet+ with distillation costs less",
        "not in the paper",
        measures.tuned_difference(_AT_HOME, "distilled", "control"),
        ">=",
        -1,
    ),
    Ordering(
        "Abroad: stuff, + Mask Sup over + Cls Sup (PQst)",
        "23.9 against 24.4 (Table 3)",
        measures.tuned_difference(OUT_OF_DOMAIN, "cls_masksum", "cls", "PQst"),
    ),
    Ordering(
        "Abroad: OPSNet+ with distillation",
        "not in the paper",
        measures.tuned_difference(OUT_OF_DOMAIN, "distilled", "control"),
    ),
)
