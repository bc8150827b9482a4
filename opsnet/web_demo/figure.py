"""The image with its segments as HTML: the overlay, and hidden data for the hover effect (``hover.js``)."""

from __future__ import annotations

import base64
import io
import json
from html import escape

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from opsnet.data.panoptic_png import ids_to_rgb
from opsnet.prediction.carriers import NamedSegment, PanopticResult
from opsnet.structures import PanopticMap
from opsnet.visualization.colours import segment_colours
from opsnet.visualization.overlays import draw_overlay

SHOWN = 1280  # pixels of the longer side in the browser
VISIBLE = 0.005  # scores below are shown as 0.00
LISTED = 10  # names in the image's description
COLUMNS = ("name", "kind", "score", "predicted IoU", "share", "next names")
COSINES_NOTE = (
    "Where the scores of all further names are 0.00, the cosines of the segment's embedding with the names are listed "
    "instead, the first of them that of its own name."
)


def figure(pixels: NDArray[np.uint8], found: PanopticResult, name: str = "the image") -> str:
    """An image (H, W, 3) and its map as HTML.

    Two drawings lie on each other, with the same outlines and names: the image, and above it the plain colours, whose
    opacity is set in the browser.

    Args:
        pixels: the image.
        found: its map.
        name: of the image file, for readers who do not see it.
    """
    small, ids = _shrink(pixels, found.ids.cpu().numpy())
    panoptic, names = PanopticMap(torch.from_numpy(ids), found.segments), found.vocabulary.names
    overlay, colours = (draw_overlay(small, panoptic, names, colour_share=share) for share in (0.0, 1.0))
    segments = {s.id: _described(s, ids.size, int((ids == s.id).sum())) for s in found.segments}
    return (
        f'<div class="figure" style="--ratio: {ids.shape[1] / ids.shape[0]:.4f}" '
        f'data-segments="{escape(json.dumps(segments))}" data-ids="{_data_url(ids_to_rgb(ids), "PNG")}">'
        f'<img class="overlay" alt="{escape(_description(found, name))}" src="{_data_url(overlay, "WEBP")}">'
        f'<img class="colours" alt="" src="{_data_url(colours, "WEBP")}">'
        '<canvas class="light" aria-hidden="true"></canvas><div class="tip" hidden></div></div>'
    )


def _description(found: PanopticResult, name: str) -> str:
    listed = dict.fromkeys(s.name for s in sorted(found.segments, key=lambda s: -s.area))
    more = f", and {len(listed) - LISTED} more names" if len(listed) > LISTED else ""
    if not listed:
        return f"{name} without segments"
    return f"{name} with {counted(len(found.segments))}: {', '.join(list(listed)[:LISTED])}{more}"


def counted(segments: int) -> str:
    """A number of segments in words."""
    return f"{segments} segment{'' if segments == 1 else 's'}"


def _shrink(pixels: NDArray[np.uint8], ids: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    factor = SHOWN / max(ids.shape)
    if factor >= 1:
        return pixels, ids
    height, width = (max(1, round(side * factor)) for side in ids.shape)
    rows, columns = (np.arange(n) * side // n for n, side in zip((height, width), ids.shape, strict=True))
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)), ids[rows][:, columns]


def _described(segment: NamedSegment, pixels: int, area: int) -> dict[str, object]:
    cosines = _cosines(segment)
    shown = {"cosines": [round(c, 3) for c in cosines]} if cosines else {}
    return {
        "name": segment.name,
        "kind": "thing" if segment.is_thing else "stuff",
        "score": round(segment.score, 3),
        "iou": round(segment.iou, 3),
        "share": round(area / pixels, 4),
        "top": [[t.name, round(t.score, 4)] for t in segment.top],
        **shown,
    }


def _data_url(pixels: NDArray[np.uint8], kind: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"quality": 92} if kind == "WEBP" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def segment_table(found: PanopticResult) -> str:
    """The segments as a table, the largest first, in the colours of the overlay."""
    colours, rows = segment_colours(found.segments, found.vocabulary.names), []
    for s in sorted(found.segments, key=lambda s: -s.area):
        cells = (
            f'<i style="background:rgb{colours[s.id]}"></i>{escape(s.name)}', "thing" if s.is_thing else "stuff",
            f"{s.score:.2f}", f"{s.iou:.2f}", f"{s.area / found.ids.numel():.1%}",
            escape(_next_names(s)),
        )  # fmt: skip
        rows.append("".join(map(cell, COLUMNS, cells)))
    note = f'<p class="quiet">{COSINES_NOTE}</p>' if any(map(_cosines, found.segments)) else ""
    return table(COLUMNS, rows, "no segment was found") + note


def _cosines(segment: NamedSegment) -> tuple[float, ...]:
    """Those of all listed names, if there are further names and all of their scores are shown as 0.00; else none."""
    cosines = [t.cosine for t in segment.top if t.cosine is not None]
    hidden = len(segment.top) > 1 and all(t.score < VISIBLE for t in segment.top[1:])
    return tuple(cosines) if hidden and len(cosines) == len(segment.top) else ()


def _next_names(segment: NamedSegment) -> str:
    cosines = _cosines(segment)
    if not cosines:
        return ", ".join(f"{t.name} {t.score:.2f}" for t in segment.top[1:])
    named = [f"{t.name} {c:.2f}" for t, c in zip(segment.top, cosines, strict=True)]
    return f"cosines: {', '.join(named)}"


def cell(column: str, content: str) -> str:
    """A cell of a table with its content, which is HTML; narrow screens show the column's title in it."""
    return f'<td data-title="{escape(column)}">{content}</td>'


def table(columns: tuple[str, ...], rows: list[str], empty: str) -> str:
    """An HTML table with column titles.

    Args:
        columns: titles.
        rows: the cells of each row, see :func:`cell`.
        empty: text without rows.
    """
    if not rows:
        return f'<p class="quiet">{empty}</p>'
    head = "".join(f'<th scope="col">{escape(c)}</th>' for c in columns)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="rows" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
