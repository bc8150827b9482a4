"""A prediction and a ground truth in COCO's panoptic format, scored as ``opsnet-score`` does."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random

from opsnet.evaluation.score import score
from scripts.fuzz import seeds
from scripts.fuzz.cases import Case, Untrue
from scripts.fuzz.mutation import mutated_json, mutated_png


def case(seed: int) -> Case:
    """Two panoptic jsons with PNGs, of which one file is changed."""
    rng = Random(seed)
    files = {
        "gt.json": mutated_json(rng, seeds.panoptic(), 0),
        "pred.json": mutated_json(rng, seeds.panoptic(), 0),
        "gt/a.png": seeds.ids_png(),
        "pred/a.png": seeds.ids_png(),
    }
    name = rng.choice(["gt.json", "pred.json", "pred.json", "gt.json", "gt/a.png", "pred/a.png"])
    is_json = name.endswith(".json")
    files[name] = mutated_json(rng, seeds.panoptic()) if is_json else mutated_png(rng, files[name])
    return Case(files)


def run(given: Case, folder: Path) -> None:
    """Scores the prediction.

    Raises:
        InputError: a file is refused.
        Untrue: a quality is no percentage, apart from what wrong areas of the json make of it.
    """
    given.write(folder)
    result = score(folder / "gt.json", folder / "pred.json")
    for value in (result.result.all.pq, result.result.all.sq, result.result.all.rq):
        if not math.isfinite(value) or not 0 <= value <= 200:  # areas of the json that are too small are warned of
            raise Untrue(f"a quality of {value}")
    result.as_dict()
