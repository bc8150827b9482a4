"""Selects the inspector for a dataset class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from opsnet.data.image_label_dataset import ImageLabelDataset
from opsnet.data.label_inspection import ImageLabelInspector, ShardInspector
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.data.set_inspection import Inspector, PanopticInspector
from opsnet.data.shard_dataset import ShardDataset

INSPECTORS: dict[object, Callable[[Mapping[str, Any]], Inspector]] = {
    PanopticDataset: PanopticInspector.from_keywords,
    ImageLabelDataset: ImageLabelInspector.from_keywords,
    ShardDataset: ShardInspector.from_keywords,
}
"""Dataset class -> constructor of its inspector."""


def inspector_of(builder: object) -> Inspector | None:
    """The inspector for a data module's ``functools.partial``; ``None`` if its dataset class is not supported."""
    if not isinstance(builder, partial) or builder.func not in INSPECTORS:
        return None
    return INSPECTORS[builder.func](builder.keywords)
