"""The packaged vocabularies against published lists, and published lists read as vocabularies (skips without them)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from opsnet.vocabulary import Vocabulary

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "vocab"
pytestmark = pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"the published lists are not in {PUBLISHED}")


@pytest.mark.parametrize("name", ["coco", "cityscapes"])
def test_ids_and_flags_are_the_published_ones(name: str) -> None:
    categories = json.loads((PUBLISHED / f"panoptic_{name}_categories.json").read_text())
    vocabulary = Vocabulary.load(name)
    assert dict(zip(vocabulary.ids, vocabulary.is_thing, strict=True)) == {
        c["id"]: bool(c["isthing"]) for c in categories
    }


def test_ade20ks_things_are_the_published_ones() -> None:
    rows = (PUBLISHED / "ade20k_instance_catid_mapping.txt").read_text().splitlines()[1:]
    things = {int(re.split(r"\s+", row.strip())[1]) for row in rows if row.strip()}
    vocabulary = Vocabulary.load("ade20k")
    assert vocabulary.ids == tuple(range(1, 151))
    assert {i for i, thing in zip(vocabulary.ids, vocabulary.is_thing, strict=True) if thing} == things


LISTS = {  # classes of each, and the packaged vocabulary with the same ids
    "ade20k_150": (150, "ade20k"),
    "ade20k_847": (847, None),
    "cityscapes": (19, None),  # numbered from 0 there
    "coco_panoptic": (133, "coco"),  # 68 of its 201 lines are no class
    "lvis_1203": (1203, None),
    "mapillary_vistas": (65, "mapillary_vistas"),
    "pascal_ctx_459": (459, None),
    "pascal_ctx_59": (59, "pascal_context"),
    "pascal_voc_21": (21, None),
}


@pytest.mark.parametrize(("name", "count", "packaged"), [(n, *rest) for n, rest in LISTS.items()])
def test_published_lists_are_vocabularies(name: str, count: int, packaged: str | None) -> None:
    vocabulary = Vocabulary.load(PUBLISHED / "fcclip" / f"{name}_with_prompt_eng.txt")
    assert len(vocabulary) == count
    assert vocabulary.ids[0] == (0 if name in ("cityscapes", "pascal_voc_21") else 1)
    if packaged is not None:
        assert vocabulary.ids == Vocabulary.load(packaged).ids


def test_ade20ks_ids_mean_what_they_mean_in_its_own_list() -> None:
    rows = (PUBLISHED / "objectInfo150.txt").read_text().splitlines()[1:]
    for concept, row in zip(Vocabulary.load("ade20k").concepts, rows, strict=True):
        assert {n.strip() for n in row.split("\t")[-1].split(",")} & set(concept.names), row


@pytest.mark.parametrize(("name", "agree"), [("mapillary_vistas", 63), ("pascal_ctx_59", 56)])
def test_each_id_means_the_same(name: str, agree: int) -> None:
    """The few that share no name were compared by eye: "computer" and "computer case"."""
    published = Vocabulary.load(PUBLISHED / "fcclip" / f"{name}_with_prompt_eng.txt")
    ours = Vocabulary.load(LISTS[name][1] or "")
    shared = [
        {n.casefold() for n in a.names} & {n.casefold() for n in b.names}
        for a, b in zip(ours.concepts, published.concepts, strict=True)
    ]
    assert sum(bool(names) for names in shared) >= agree
