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
from opsnet.prediction.carriers import NamedMap
from opsnet.web_demo.figure import SHOWN, figure, segment_table


def image_from(url: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))) as image:
        return np.array(image.convert("RGB"))


def attribute(html: str, name: str) -> str:
    found = re.search(rf'{name}="([^"]*)"', html)
    assert found is not None
    return unescape(found[1])


def test_ids_and_names_travel_with_the_overlay(named_map) -> None:
    html = figure(np.zeros((6, 8, 3), np.uint8), named_map)
    assert (decode_ids(Image.fromarray(image_from(attribute(html, "data-ids")))) == named_map.ids.numpy()).all()
    overlay = image_from(attribute(html, "src"))
    assert overlay.shape[0] / overlay.shape[1] == 6 / 8
    segments = json.loads(attribute(html, "data-segments"))
    assert segments["2"] == {
        "name": "<b>cat</b>", "kind": "thing", "score": 0.7, "iou": 0.8, "share": 0.4167,
        "top": [["<b>cat</b>", 0.75], ["sea", 0.2]],
    }  # fmt: skip
    assert "<b>" not in html


def test_a_large_image_is_shown_smaller(named_map) -> None:
    ids = named_map.ids.repeat_interleave(400, 0).repeat_interleave(400, 1)
    large = NamedMap(ids, named_map.segments, named_map.vocabulary)
    html = figure(np.zeros((2400, 3200, 3), np.uint8), large)
    shown = decode_ids(Image.fromarray(image_from(attribute(html, "data-ids"))))
    assert shown.shape == (SHOWN * 6 // 8, SHOWN)
    assert (shown[::160, ::160] == named_map.ids.numpy()).all()


def test_the_table_lists_the_next_names(named_map) -> None:
    html = segment_table(named_map)
    assert html.count("<tr>") == 3
    assert "&lt;b&gt;cat&lt;/b&gt;" in html and "<b>" not in html
    assert "sea 0.20" in html
    cat = named_map.segments[1]
    low = replace(cat, top=(cat.top[0], replace(cat.top[1], score=0.001, cosine=0.2468)))
    assert "sea 0.00 (cosine 0.247)" in segment_table(replace(named_map, segments=(named_map.segments[0], low)))
    assert "no segment was found" in segment_table(NamedMap(named_map.ids * 0, (), named_map.vocabulary))
