"""Detections of the library supervision as given masks, by their attributes: the library itself is not imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opsnet.prediction.mask_records import MaskError, as_array


def is_detections(value: Any) -> bool:
    """Whether an object has boxes and masks as ``supervision.Detections`` has."""
    return hasattr(value, "mask") and hasattr(value, "xyxy")


def detection_records(detections: Any) -> Sequence[dict[str, Any]]:
    """A record per detection: its mask, its tracker's id as ``id`` and its confidence as ``score``, where it has any.

    Args:
        detections: ``mask`` (n, H, W) bool; ``tracker_id`` and ``confidence`` (n,) or ``None``.

    Raises:
        MaskError: there are boxes without masks, or as many ids or scores as there are no masks.
    """
    count = len(detections.xyxy)
    if detections.mask is None:
        if count:
            raise MaskError(f"has {count} boxes and no masks: give a segmentation model's, or SAM's for the boxes")
        return []
    masks = as_array(detections.mask)
    columns = {"id": getattr(detections, "tracker_id", None), "score": getattr(detections, "confidence", None)}
    lists = {key: as_array(values).tolist() for key, values in columns.items() if values is not None}
    for key, values in lists.items():
        if len(values) != len(masks):
            raise MaskError(f"has {len(masks)} masks and {len(values)} values of {key}: give one for each")
    return [{"segmentation": masks[i], **{key: values[i] for key, values in lists.items()}} for i in range(len(masks))]
