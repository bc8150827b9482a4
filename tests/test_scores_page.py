"""docs/scores.md names the warnings that exist and the bounds that are used, and its block runs."""

from __future__ import annotations

import re
import warnings
from importlib import import_module

from documented import ROOT, blocks, commands

from opsnet.clip.scope import BOUNDS, SCENES, scope_of
from opsnet.inference import untrained
from opsnet.prediction.cautions import PredictionWarning

PAGE = ROOT / "docs" / "scores.md"
TEXT = " ".join(PAGE.read_text(encoding="utf-8").split())


def test_the_block_runs() -> None:
    (block,) = blocks(PAGE, "python")
    with warnings.catch_warnings():
        exec(compile(block, "docs/scores.md", "exec"), {})


def test_every_warning_is_listed() -> None:
    listed = set(re.findall(r"\| `(\w+Warning)` \|", TEXT))
    assert listed == {kind.__name__ for kind in PredictionWarning.__subclasses__()}


def test_the_bounds_are_those_of_the_code() -> None:
    chroma, contrast = BOUNDS[SCENES]
    assert f"at least {chroma:g}, and the contrast" in TEXT
    assert f"noise), {contrast[0]:g} to {contrast[1]:g}." in TEXT
    assert f"the {len(scope_of(SCENES).words)} words of its captions" in TEXT
    assert untrained.LIVE == 0.5 and "at least half of its proposals have a mask" in TEXT
    assert f"mean IoU of two masks is at least {untrained.AGREEMENT:g}," in TEXT
    assert f"less than {untrained.OBJECTNESS_RATIO:g} times the median's" in TEXT


def test_the_scripts_exist() -> None:
    modules = {command.split()[2] for command in commands(PAGE) if command.startswith("python -m")}
    assert modules == {"scripts.miniature.calibration", "scripts.miniature.cautions"}
    assert all(callable(import_module(module).main) for module in modules)
