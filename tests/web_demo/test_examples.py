"""Examples fit the model: their class names are in the image and among what the model was trained for."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from opsnet.miniature.drawing import DOMAINS
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary
from opsnet.web_demo.examples import SCENES, copy_examples, draw_examples, examples_for


def test_scenes_come_with_the_names_of_what_is_in_them(tmp_path) -> None:
    import numpy as np

    from opsnet.miniature.drawing import draw_scene

    examples = draw_examples(tmp_path)
    assert len({example.path for example in examples}) == 3
    for (domain, seed), example in zip(SCENES, examples, strict=True):
        with Image.open(example.path) as image:
            assert image.size == (96, 96)
        _, ids, segments = draw_scene(DOMAINS[domain], np.random.default_rng(seed))
        names = dict(zip(*(getattr(Vocabulary.load(DOMAINS[domain].vocabulary), key) for key in ("ids", "names"))))
        assert set(example.words.split(", ")) == {names[s["category_id"]] for s in segments if s["id"] in ids}


def test_scenes_are_offered_only_for_a_miniatures_checkpoint(tmp_path) -> None:
    scenes = Vocabulary.load("scenes")
    assert len(examples_for(scenes, tmp_path)) == 3
    assert len(examples_for(scenes.without(["red circle"]), tmp_path)) == 3
    assert examples_for(Vocabulary.load("camvid"), tmp_path) == ()


def test_a_photograph_is_offered_for_models_that_were_trained_on_its_names(tmp_path) -> None:
    (example,) = examples_for(Vocabulary.load("coco"), tmp_path)
    assert Path(example.path).parent == tmp_path
    with Image.open(example.path) as image:
        assert image.size == (512, 600)
    assert {"person", "tie"} <= set(example.words.split(", "))


def test_a_folder_of_ones_own(tmp_path) -> None:
    source, folder = tmp_path / "mine", tmp_path / "page"
    for path in (source, folder):
        path.mkdir()
    with pytest.raises(InputError, match="has no images"):
        copy_examples(source, folder)
    for name in ("b.png", "a.JPG"):
        Image.new("RGB", (8, 8)).save(source / name)
    (source / "a.txt").write_text("sea; tree\nSea", encoding="utf-8")
    first, second = copy_examples(source, folder)
    assert (Path(first.path), first.words) == (folder / "a.JPG", "sea, tree")
    assert (Path(second.path), second.words) == (folder / "b.png", None)
    (source / "b.txt").write_bytes(b"\xff\xff")
    with pytest.raises(InputError, match=r"b\.txt cannot be read"):
        copy_examples(source, folder)
