"""Which examination is for which set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from opsnet.data.image_label_dataset import ImageLabelDataset
from opsnet.data.label_inspection import ImageLabelInspector
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.data.set_inspection import Inspector, PanopticInspector

INSPECTORS: dict[object, Callable[[Mapping[str, Any]], Inspector]] = {
    PanopticDataset: PanopticInspector.from_keywords,
    ImageLabelDataset: ImageLabelInspector.from_keywords,
}
"""What a data module builds its sets of -> what examines such a set."""


def inspector_of(builder: object) -> Inspector | None:
    """What examines the set of a data module's ``functools.partial``; ``None`` where nothing knows how to."""
    if not isinstance(builder, partial) or builder.func not in INSPECTORS:
        return None
    return INSPECTORS[builder.func](builder.keywords)
