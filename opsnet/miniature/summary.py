"""What a run found, in three sentences for someone who has not read the paper."""

from __future__ import annotations

from collections.abc import Sequence

from opsnet.metrics.results import IN_DOMAIN, OUT_OF_DOMAIN, Results
from opsnet.miniature.rankings import Outcome


def summarize(main: Results, outcomes: Sequence[Outcome]) -> list[str]:
    """Sentences on a run's results: in the training domain, in the unseen domains, and the paper's rankings.

    Args:
        main: results of the full model.
        outcomes: the rankings' outcomes of the same run.

    Returns:
        Three sentences; fewer if the metrics of a sentence are missing.
    """
    known = _scores(main, (IN_DOMAIN,))
    unseen = _scores(main, OUT_OF_DOMAIN)
    sentences = []
    if known:
        full, query, clip = known
        sentences.append(
            f"On images like those of the training, OPSNet reaches PQ {full:.1f}; its trained query embeddings alone "
            f"reach {query:.1f}, CLIP alone {clip:.1f}."
        )
    if unseen:
        full, query, clip = unseen
        verdict = "more than either" if full > max(query, clip) else "not more than the better one"
        sentences.append(
            f"In two domains with untrained class names it reaches PQ {full:.1f}, {verdict}: query embeddings alone "
            f"reach {query:.1f}, CLIP alone {clip:.1f}."
        )
    return [*sentences, _rankings(outcomes)]


def _scores(main: Results, domains: Sequence[str]) -> tuple[float, float, float] | None:
    full, query, clip = (main.mean(domains, name) for name in ("full", "query_only", "clip_only"))
    return None if full is None or query is None or clip is None else (full, query, clip)


def _rankings(outcomes: Sequence[Outcome]) -> str:
    judged = [o for o in outcomes if o.verdict in ("reproduced", "NOT reproduced")]
    missed = [o.ranking.name for o in judged if o.verdict == "NOT reproduced"]
    if not judged:
        return "None of the paper's rankings could be judged, because this run lacks their metrics."
    count = (
        f"Of the paper's {len(judged)} rankings that this run can judge, {len(judged) - len(missed)} were reproduced"
    )
    return f"{count}; not reproduced: {'; '.join(missed)}." if missed else f"{count}."
