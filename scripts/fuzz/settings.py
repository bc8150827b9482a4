"""Names of inference settings, filters and recognizers."""

from __future__ import annotations

from pathlib import Path
from random import Random

from opsnet.inference.settings import parse_filtering, parse_recognizer, parse_setting
from scripts.fuzz.cases import Case
from scripts.fuzz.mutation import several

NAMES = ("setting", "modulation", "filter")
TEXTS = (
    "full/cls_iou", "alpha=5,beta=0.25/cls_iou", "cropping/cls", "clip_only/iou",
    "full/cls_iou,threshold=0.1,compete=cls",
    "masking/cls,overlap=0.7,drop_no_object=true", "trained/trained", "learned/cls", "full/trained", "query_only/cls",
)  # fmt: skip
PARTS = (
    "/", ",", "=", "full", "cls", "alpha", "beta", "threshold", "nan", "inf", "-1", "1e6", "1e999", "0", "0.5", "", " ",
    "../", "/etc/passwd", "${oc.env:HOME}", "???", "9" * 400, "\n", "\0", "é", "kind", "null", "[1]", "trained",
    "x" * 2000,
    "threshold=0.1", "alpha=1", "compete=iou", "overlap=1", "drop_no_object=False", "_target_=os.system", "\ud800",
    "{", "'",
)  # fmt: skip


def case(seed: int) -> Case:
    """A name with parts that are replaced, removed or put in."""
    rng = Random(seed)
    text = rng.choice(TEXTS)
    for _ in range(several(rng)):
        place = rng.randrange(len(text) + 1)
        text = text[:place] + rng.choice(PARTS) + text[place + rng.choice([0, 0, 1, 5]) :]
    return Case(arguments={"kind": rng.choice(["setting", "setting", "recognizer", "filtering"]), "text": text})


def run(given: Case, folder: Path) -> None:
    """Builds the setting."""
    parse = {"setting": parse_setting, "recognizer": parse_recognizer, "filtering": parse_filtering}
    parse[given.arguments["kind"]](given.arguments["text"])
