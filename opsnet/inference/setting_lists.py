"""Lists of names of settings: those of the paper's tables, and grids of filter options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opsnet.inference.settings import OTHER_SOURCES


def paper_settings(
    alphas: Sequence[float] = (0, 2.5, 5, 10, 15, 20),
    betas: Sequence[float] = (0, 0.25, 0.5, 0.75, 1, 1.5),
    *,
    other_sources: bool = True,
) -> list[str]:
    """Names of every setting of Tables 1 and 4 to 7; the grid over ``alphas`` and ``betas`` is Table 6.

    Args:
        alphas, betas: values of the grid.
        other_sources: include :data:`OTHER_SOURCES`, which run CLIP again, per proposal or per image.
    """
    names = [f"{r}/{f}" for r in ("query_only", "clip_only", "ensemble_1", "full") for f in ("cls", "iou", "cls_iou")]
    more = ("ensemble_2", "ensemble_3", "ensemble_4", "fusion_only", *(OTHER_SOURCES if other_sources else ()))
    names += [f"{r}/cls_iou" for r in more]
    names += [f"alpha={a:g},beta={b:g}/cls_iou" for a in alphas for b in betas]
    return names


def grid(names: Sequence[str], values: Mapping[str, Sequence[Any]]) -> list[str]:
    """Each setting with every combination of filter options: ``full/cls,threshold=0,overlap=0.8``.

    Args:
        names: names of settings.
        values: values by option, e.g. ``{"threshold": [0, 0.1], "overlap": [0.8]}``.
    """
    for key, candidates in values.items():
        names = [f"{name},{key}={value:g}" for name in names for value in candidates]
    return list(names)
