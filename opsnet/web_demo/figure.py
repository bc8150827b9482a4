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
from opsnet.prediction.carriers import NamedMap, NamedSegment
from opsnet.prediction.cosines import shown_score
from opsnet.structures import PanopticMap
from opsnet.visualization.colours import segment_colours
from opsnet.visualization.overlays import draw_overlay

SHOWN = 1280  # pixels of the longer side in the browser


def figure(pixels: NDArray[np.uint8], found: NamedMap) -> str:
    """An image (H, W, 3) and its map as HTML."""
    small, ids = _shrink(pixels, found.ids.cpu().numpy())
    overlay = draw_overlay(small, PanopticMap(torch.from_numpy(ids), found.segments), found.vocabulary.names)
    segments = {s.id: _described(s, ids.size, int((ids == s.id).sum())) for s in found.segments}
    listed = escape(json.dumps(segments), quote=True)
    return (
        f'<div class="figure" style="--ratio: {ids.shape[1] / ids.shape[0]:.4f}" '
        f'data-segments="{listed}" data-ids="{_data_url(ids_to_rgb(ids), "PNG")}">'
        f'<img class="overlay" alt="the image with {len(segments)} segments" src="{_data_url(overlay, "WEBP")}">'
        '<canvas class="light"></canvas><div class="tip" hidden></div></div>'
    )


def _shrink(pixels: NDArray[np.uint8], ids: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    factor = SHOWN / max(ids.shape)
    if factor >= 1:
        return pixels, ids
    height, width = (max(1, round(side * factor)) for side in ids.shape)
    rows, columns = (np.arange(n) * side // n for n, side in zip((height, width), ids.shape, strict=True))
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)), ids[rows][:, columns]


def _described(segment: NamedSegment, pixels: int, area: int) -> dict[str, object]:
    return {
        "name": segment.name,
        "kind": "thing" if segment.is_thing else "stuff",
        "score": round(segment.score, 3),
        "iou": round(segment.iou, 3),
        "share": round(area / pixels, 4),
        "top": [[t.name, round(t.score, 4)] for t in segment.top],
    }


def _data_url(pixels: NDArray[np.uint8], kind: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"quality": 92} if kind == "WEBP" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def segment_table(found: NamedMap) -> str:
    """The segments as a table, the largest first, in the colours of the overlay."""
    colours = segment_colours(found.segments)
    rows = []
    for s in sorted(found.segments, key=lambda s: -s.area):
        others = ", ".join(f"{escape(t.name)} {shown_score(t)}" for t in s.top[1:])
        rows.append(
            f'<tr><td><i style="background:rgb{colours[s.id]}"></i>{escape(s.name)}</td>'
            f"<td>{'thing' if s.is_thing else 'stuff'}</td><td>{s.score:.2f}</td><td>{s.iou:.2f}</td>"
            f"<td>{s.area / found.ids.numel():.1%}</td><td>{others}</td></tr>"
        )
    return table(("name", "kind", "score", "predicted IoU", "share", "next names"), rows, "no segment was found")


def table(columns: tuple[str, ...], rows: list[str], empty: str) -> str:
    """An HTML table of the rows with column titles."""
    if not rows:
        return f'<p class="quiet">{empty}</p>'
    head = "".join(f"<th>{escape(c)}</th>" for c in columns)
    return f'<div class="rows"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
