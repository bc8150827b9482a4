"""CVAT's XML, as ``opsnet-prepare own cvat`` reads it."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from random import Random

from opsnet.preparation.own_cvat import prepare_cvat
from scripts.fuzz import converted, seeds
from scripts.fuzz.cases import Case
from scripts.fuzz.mutation import damaged_text, several

NAMES = converted.NAMES
XML = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><labels><label><name>cat</name></label><label><name>sky</name></label></labels></task></meta>
<image id="0" name="a.png" width="8" height="8">
<polygon label="cat" points="0.0,0.0;5.0,0.0;5.0,5.0" z_order="1" group_id="2"></polygon>
<mask label="sky" rle="2, 3, 1" left="1" top="1" width="3" height="2" z_order="0"></mask>
<ellipse label="cat" cx="5" cy="5" rx="2" ry="1" rotation="30"></ellipse>
</image></annotations>
"""
_VALUES = (
    "", " ", "-1", "0", "1", "9", "nan", "inf", "1e308", "9" * 400, "9" * 5000, "x", "a.png",
    "../../../opsnet_canary.png",
    "/etc/passwd", "1,2", "1,2;3", ";;", "0, 0, 0", "1000000000", "2, 999999999999", "a" * 300, "cat", "&#0;", "&x;",
    "é",
)  # fmt: skip
BOMB = '<!DOCTYPE z [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in zip("abcdefgh", "bcdefghi")
)


def case(seed: int) -> Case:
    """An XML of one image, in which attributes and elements are changed."""
    rng = Random(seed)
    text = XML
    for _ in range(several(rng)):
        text = _changed(rng, text)
    if rng.random() < 0.02:
        external = '<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        text = XML.replace("<annotations>", f"{BOMB}{external}<annotations>").replace("cat", rng.choice(["&i;", "&x;"]))
    data = damaged_text(rng, text) if rng.random() < 0.15 else text.encode("utf-8", "surrogatepass")
    options = {"by_name": rng.random() < 0.2, "skip_without_mask": rng.random() < 0.3}
    return Case({"a.xml": data, "images/a.png": seeds.photo()}, options)


def _changed(rng: Random, text: str) -> str:
    kind = rng.randrange(5)
    attributes, lines = list(re.finditer(r'"[^"\n]*"', text)), text.split("\n")
    if kind < 3 and attributes:
        found = rng.choice(attributes)
        return f'{text[: found.start()]}"{rng.choice(_VALUES)}"{text[found.end() :]}'
    place = rng.randrange(len(lines))
    if kind == 3:
        lines[place : place + 1] = [lines[place]] * rng.choice([0, 2])
    else:
        lines[place] = re.sub(r"polygon|mask|ellipse|image|annotations|encoding=.utf-8.", _other, lines[place])
    return "\n".join(lines)


def _other(found: re.Match[str]) -> str:
    others = {"polygon": "polyline", "mask": "box", "ellipse": "skeleton", "image": "track", "annotations": "x"}
    return others.get(found[0], 'encoding="nothing"')


def run(given: Case, folder: Path) -> None:
    """Converts the set and reads it back."""
    given.write(folder)
    converted.convert(partial(prepare_cvat, folder / "images", folder / "a.xml", **given.arguments), folder)
