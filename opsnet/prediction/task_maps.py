"""The map of a task: a panoptic map, one segment per class, or only things."""

from __future__ import annotations

from dataclasses import replace

import torch

from opsnet.prediction.carriers import NamedSegment, PanopticResult
from opsnet.prediction.naming import boxes_of
from opsnet.utils.errors import InputError

TASKS = ("panoptic", "semantic", "instance")


def checked_task(task: str) -> str:
    """Validates a task.

    Raises:
        InputError: it is unknown.
    """
    if task not in TASKS:
        raise InputError(f"task must be one of {', '.join(TASKS)}, got '{task}'")
    return task


def for_task(named: PanopticResult, task: str) -> PanopticResult:
    """The map for a task: "semantic" has one segment per class, "instance" only things.

    Raises:
        InputError: the task is unknown.
    """
    if checked_task(task) == "panoptic":
        return replace(named, task=task)
    kept = [s for s in named.segments if s.is_thing or task == "semantic"]
    classes: dict[int, list[NamedSegment]] = {}
    for s in kept:
        classes.setdefault(s.label if task == "semantic" else s.id, []).append(s)
    id_of = torch.zeros(1 + max((s.id for s in named.segments), default=0), dtype=torch.int64)
    merged = []
    for number, parts in enumerate(classes.values(), start=1):
        best, area = max(parts, key=lambda s: s.score), sum(s.area for s in parts)
        id_of[[s.id for s in parts]] = number
        sources = tuple(source for s in parts for source in s.source_ids)
        merged.append(replace(best, id=number, area=area, source_ids=sources))
    ids = id_of.to(named.ids.device)[named.ids]
    boxes = boxes_of(ids, len(merged))
    segments = tuple(replace(s, box=boxes[s.id - 1]) for s in merged)
    return replace(named, ids=ids, segments=segments, task=task)
