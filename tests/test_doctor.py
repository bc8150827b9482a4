"""opsnet-doctor on the tiny world's CLIP: its files, what it prints, and what it refuses in one sentence."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from opsnet import doctor


@pytest.fixture
def examined(compose, world):
    def run(output: Path, vocabulary: str, *overrides: str):
        texts = [f"vocabulary='{vocabulary}'", "train=scenes", "clip=tiny"]
        return doctor.examine(compose("doctor", *texts, f"paths.data={world.data}", f"output={output}", *overrides))

    return run


def test_the_training_vocabulary_beside_itself(examined, tmp_path: Path, capsys) -> None:
    fit = examined(tmp_path, "scenes")
    assert fit.similarity == 1.0
    assert fit.strength == 0.0
    assert all(c.name == c.nearest and c.factor == 1.0 for c in fit.concepts)
    printed = capsys.readouterr().out
    assert "scenes (18 concepts) beside scenes (18): s = 1.000, alpha (1 - s) = 0.00" in " ".join(printed.split())


def test_every_concept_is_in_the_csv(examined, tmp_path: Path) -> None:
    fit = examined(tmp_path, "scenes_novel", "alpha=5", "beta=1")
    with (tmp_path / "vocabulary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [c.name for c in fit.concepts]
    for row, concept in zip(rows, fit.concepts, strict=True):
        assert float(row["cosine"]) == pytest.approx(concept.cosine, abs=1e-4)
        assert float(row["debias factor"]) == pytest.approx(1 / concept.cosine, abs=1e-3)
    assert fit.strength == pytest.approx(5 * (1 - fit.similarity))
    with Image.open(tmp_path / "similarity.png") as picture:
        assert min(picture.size) > 300


def test_names_that_clip_cuts_and_look_alikes_are_named(examined, tmp_path: Path, capsys) -> None:
    long = "a word after a word after a word after a word"
    examined(tmp_path, f"red circle, {long}, Red Circle !", "alike=0.9999")
    printed = " ".join(capsys.readouterr().out.split())
    assert f"CLIP reads only the beginning of '{long}': shorten it" in printed
    examined(tmp_path, "circle red, square red", "alike=-1")
    assert "Look-alikes (1 pairs)" in capsys.readouterr().out
