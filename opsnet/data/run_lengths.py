"""COCO's run lengths of a mask, checked before pycocotools sees them: its merge never ends if they are too short."""

from __future__ import annotations

from typing import Any

from opsnet.utils.json_fields import whole

Size = tuple[int, int]
"""Height and width in pixels."""


def checked_counts(counts: Any, size: Size) -> list[int]:
    """The run lengths of a mask, column by column, first those of the background.

    Args:
        counts: whole numbers, or COCO's text.
        size: of the image.

    Raises:
        ValueError: they are neither, or do not add up to the mask.
    """
    if isinstance(counts, (str, bytes)):
        counts = counts_of_text(counts)
    try:
        lengths = [whole(count) for count in counts] if isinstance(counts, (list, tuple)) else [-1]
    except TypeError:
        lengths = [-1]
    if min(lengths, default=0) < 0:
        raise ValueError("run lengths whose `counts` are neither COCO's text nor a list of whole numbers")
    if sum(lengths) != size[0] * size[1]:
        raise ValueError(f"run lengths of {sum(lengths)} pixels in all, but the image has {size[0] * size[1]}")
    return lengths


def counts_of_text(text: str | bytes) -> list[int]:
    """COCO's run lengths from text: six bits a character, the last bit for "more"; from the third on differences.

    Raises:
        ValueError: it is not such a text.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text.encode("utf-8", "replace") if isinstance(text, str) else text:
        bits = character - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("run lengths that are no text of COCO's: write them by pycocotools")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("run lengths that break off: write the file again")
    return counts
