"""Labelled shapes, as annotation tools store them, and the reader that paints the shapes of one image.

Each format is a function from a :class:`Source` to :class:`ImageLabels`; all else is shared.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opsnet.data.coco_panoptic_writing import SegmentLabel
from opsnet.data.conversion import Source
from opsnet.preparation.own_files import progress, require_size, upright_size
from opsnet.preparation.own_regions import Region, Runs, Size, paint
from opsnet.utils.errors import InputError

Label = str | int
SKIP = "give --skip-without-mask to leave out all without a mask"


@dataclass(frozen=True)
class Shape:
    """One labelled shape.

    Attributes:
        where: entry and file, for messages.
        label: its class, a name or a category id; None for void.
        draw: size of the image -> its pixels, raises if they cannot be drawn; None: it has no mask.
        problem: why it has no mask.
        group: shapes of a thing class with the same group are one segment; None: a separate segment.
        is_crowd: several instances that are not separated.
        layer: shapes with a higher one are in front.
    """

    where: str
    label: Label | None
    draw: Callable[[Size], Runs] | None
    problem: str = ""
    group: int | str | None = None
    is_crowd: bool = False
    layer: int = 0


@dataclass(frozen=True)
class ImageLabels:
    """The shapes of one image.

    Attributes:
        where: entry and file, for messages.
        size: width and height that the tool stored, if it did.
        shapes: in the order of annotation.
    """

    where: str
    size: Size | None
    shapes: Sequence[Shape]


ReadLabels = Callable[[Source], ImageLabels]


@dataclass(frozen=True)
class ShapeReader:
    """Paints the shapes of an image; a reader for ``convert``.

    Attributes:
        read: of the format; a module-level function, or a value of a class whose repr shows its options.
        ids: (label, category id) of all labels.
        stuff: ids of stuff classes.
        crowd_as_instances: whether to read crowd as single instances.
    """

    read: ReadLabels
    ids: tuple[tuple[Label, int], ...]
    stuff: tuple[int, ...]
    crowd_as_instances: bool = False

    def __repr__(self) -> str:
        """All that the result depends on, for the recipe of a conversion: a function's own repr has its address."""
        read = self.read.__module__ if isinstance(self.read, FunctionType) else self.read
        return f"ShapeReader({read}, {self.ids}, {self.stuff}, {self.crowd_as_instances})"

    def __call__(self, source: Source) -> tuple[NDArray[np.int64], list[SegmentLabel]]:
        """Segment ids (H, W) and their labels; an image without shapes is void, and shapes without a mask are left out.

        Raises:
            InputError: a shape cannot be drawn, or the image has another size than its labels.
        """
        labels, ids, size = self.read(source), dict(self.ids), upright_size(source.image)
        if labels.size is not None:
            require_size(labels.where, labels.size, source.image)
        regions = []
        for shape in labels.shapes:
            if shape.draw is None:
                continue
            try:
                pixels = shape.draw(size)
            except Exception as error:  # pycocotools raises plain Exception, Pillow's readers whatever they meet
                raise InputError(f"{shape.where} cannot be drawn ({error}): correct or remove it") from error
            category = None if shape.label is None else ids[shape.label]
            is_crowd = shape.is_crowd and not self.crowd_as_instances
            regions.append(Region(pixels, category, shape.group, is_crowd, shape.layer))
        return paint(regions, size, stuff=self.stuff)


@dataclass
class Survey:
    """What the labels of a set hold, and what is wrong with them as a whole; filled by :func:`survey`.

    Attributes:
        used: label -> the first file that has it.
        shapes, crowds: label -> number of shapes with a mask, and of those that are crowd.
        without_mask: shapes without a mask.
    """

    used: dict[Label, str]
    shapes: Counter[Label]
    crowds: Counter[Label]
    without_mask: list[Shape]


def survey(sources: Sequence[Source], read: ReadLabels, *, skip_without_mask: bool) -> Survey:
    """Reads all labels once, so that what is wrong with a set is said before the first image is written.

    Raises:
        InputError: a shape has no mask and ``skip_without_mask`` is false; no label remains.
    """
    found = Survey({}, Counter(), Counter(), [])
    for source in progress(sources, "reading labels"):
        for shape in read(source).shapes:
            _count(shape, found, source, skip_without_mask)
    if found.without_mask and not found.shapes:
        first = found.without_mask[0]
        raise InputError(f"{first.where} has no mask ({first.problem}), and no other shape has one: export masks")
    if found.without_mask:
        first, count = found.without_mask[0], len(found.without_mask)
        print(f"left out {count} without a mask; the first: {first.where} ({first.problem})", file=sys.stderr)
    if sources and not found.shapes and not found.without_mask:
        print(
            f"no annotation in {sources[0].labels[0]} or any other file of this set: every pixel is void, so nothing "
            "can be trained or scored with it; export the annotations",
            file=sys.stderr,
        )
    return found


def _count(shape: Shape, found: Survey, source: Source, skip_without_mask: bool) -> None:
    if shape.label is not None:
        found.used.setdefault(shape.label, str(source.labels[0]))
    if shape.draw is not None:
        found.shapes[shape.label if shape.label is not None else ""] += 1
        found.crowds[shape.label if shape.label is not None else ""] += shape.is_crowd
        return
    if not skip_without_mask:
        raise InputError(f"{shape.where} cannot be drawn ({shape.problem}): correct or remove it, or {SKIP}")
    found.without_mask.append(shape)


def check_crowd(found: Survey, where: str, crowd: str | None, names: Iterable[tuple[Label, str]]) -> None:
    """Questions labels that are crowd throughout, since training and evaluation ignore crowd.

    Args:
        found: what the labels hold.
        where: their file.
        crowd: ``keep`` or ``instances``, as the user said; None: not said.
        names: (label, class name) for messages.

    Raises:
        InputError: all shapes are crowd and ``crowd`` is None.
    """
    if crowd is not None:
        return
    total = sum(found.shapes.values())
    if total and sum(found.crowds.values()) == total:
        raise InputError(
            f"every mask of {where} ({total}) has iscrowd 1, which training and evaluation ignore; CVAT exports brush "
            "masks so: give --crowd instances to read each as an instance, or --crowd keep to leave them crowd"
        )
    known = dict(names)
    for label, count in found.crowds.items():
        if count and count == found.shapes[label]:
            print(
                f"every mask of '{known.get(label, label)}' ({count}) has iscrowd 1, which training and evaluation "
                "ignore; --crowd instances reads each as an instance",
                file=sys.stderr,
            )


def numbers(values: Any) -> list[float]:
    """A list of json numbers, as floats.

    Raises:
        ValueError: it is not one.
    """
    if isinstance(values, list) and all(type(v) in (int, float) for v in values):
        return [float(v) for v in values]
    raise ValueError("coordinates are lists of numbers")


def points(values: Any) -> list[tuple[float, float]]:
    """A json list of [x, y].

    Raises:
        ValueError: it is not one.
    """
    if not isinstance(values, list) or not all(isinstance(v, list) and len(v) == 2 for v in values):
        raise ValueError("its points are not a list of x and y")
    flat = numbers([v for point in values for v in point])
    return list(zip(flat[::2], flat[1::2], strict=True))
