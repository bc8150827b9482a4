"""The figure has the data for hovering, and names are escaped."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html import unescape

import numpy as np
from PIL import Image

from opsnet.data.panoptic_png import decode_ids
from opsnet.prediction.carriers import PanopticResult
from opsnet.visualization.overlays import COLOUR_SHARE, draw_overlay
from opsnet.web_demo.figure import SHOWN, counted, figure, segment_table


def image_from(url: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))) as image:
        return np.array(image.convert("RGB"))


def attribute(html: str, name: str) -> str:
    found = re.search(rf'{name}="([^"]*)"', html)
    assert found is not None
    return unescape(found[1])


def test_ids_and_names_travel_with_the_overlay(named_map) -> None:
    html = figure(np.zeros((6, 8, 3), np.uint8), named_map, "<img>.png")
    assert (decode_ids(Image.fromarray(image_from(attribute(html, "data-ids")))) == named_map.ids.numpy()).all()
    overlay = image_from(attribute(html, "src"))
    assert overlay.shape[0] / overlay.shape[1] == 6 / 8
    assert attribute(html, "alt") == "<img>.png with 2 segments: sea, <b>cat</b>"
    segments = json.loads(attribute(html, "data-segments"))
    assert segments["2"] == {
        "name": "<b>cat</b>", "kind": "thing", "score": 0.7, "iou": 0.8, "share": 0.4167,
        "top": [["<b>cat</b>", 0.75], ["sea", 0.2]],
    }  # fmt: skip
    assert "<b>" not in html and "<img>" not in html


def test_colours_of_any_opacity_are_the_overlay(named_map) -> None:
    """The browser mixes both layers; at the overlay's own share the mixture is the overlay of the downloads."""
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    below, above = (image_from(url) for url in re.findall(r'src="([^"]*)"', figure(pixels, named_map)))
    mixed = COLOUR_SHARE * above.astype(float) + (1 - COLOUR_SHARE) * below
    expected = draw_overlay(pixels, named_map, named_map.vocabulary.names)
    assert np.abs(mixed - expected).mean() < 5  # WebP is lossy
    assert np.abs(below - expected.astype(float)).mean() > 20


def test_cosines_replace_scores_of_zero(named_map) -> None:
    cat = named_map.segments[1]
    top = (replace(cat.top[0], cosine=0.31), replace(cat.top[1], score=0.001, cosine=0.28))
    low = replace(named_map, segments=(named_map.segments[0], replace(cat, top=top)))
    segments = json.loads(attribute(figure(np.zeros((6, 8, 3), np.uint8), low), "data-segments"))
    assert segments["2"]["cosines"] == [0.31, 0.28] and "cosines" not in segments["1"]
    html = segment_table(low)
    assert "cosines: &lt;b&gt;cat&lt;/b&gt; 0.31, sea 0.28" in html and "sea 0.20" not in html
    assert "the cosines of the segment's embedding" in html
    assert "CLIP" not in segment_table(named_map)


def test_the_description_of_an_empty_map(named_map) -> None:
    html = figure(np.zeros((6, 8, 3), np.uint8), PanopticResult(named_map.ids * 0, (), named_map.vocabulary), "a.png")
    assert attribute(html, "alt") == "a.png without segments"
    assert [counted(n) for n in (0, 1, 2)] == ["0 segments", "1 segment", "2 segments"]


def test_a_large_image_is_shown_smaller(named_map) -> None:
    ids = named_map.ids.repeat_interleave(400, 0).repeat_interleave(400, 1)
    large = PanopticResult(ids, named_map.segments, named_map.vocabulary)
    html = figure(np.zeros((2400, 3200, 3), np.uint8), large)
    shown = decode_ids(Image.fromarray(image_from(attribute(html, "data-ids"))))
    assert shown.shape == (SHOWN * 6 // 8, SHOWN)
    assert (shown[::160, ::160] == named_map.ids.numpy()).all()


def test_the_table_lists_the_next_names(named_map) -> None:
    html = segment_table(named_map)
    assert html.count("<tr>") == 3
    assert "&lt;b&gt;cat&lt;/b&gt;" in html and "<b>" not in html
    assert "sea 0.20" in html
    assert "no segment was found" in segment_table(PanopticResult(named_map.ids * 0, (), named_map.vocabulary))
