"""The packaged vocabularies against published lists, and published lists read as vocabularies (skips without them)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from opsnet.vocabulary.vocabulary import Vocabulary, VocabularyError

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


LISTS = {  # classes of each, and the packaged vocabulary of the same dataset
    "ade20k_150": (150, "ade20k"),
    "ade20k_847": (847, "ade20k_847"),
    "cityscapes": (19, "cityscapes"),  # numbered from 0 there
    "coco_panoptic": (133, "coco"),  # 68 of its 201 lines are no class
    "coco_stuff": (171, "coco_stuff_171"),
    "lvis_1203": (1203, "lvis_1203"),
    "mapillary_vistas": (65, "mapillary_vistas"),
    "pascal_ctx_459": (459, "pascal_context_459"),
    "pascal_ctx_59": (59, "pascal_context"),
    "pascal_voc_21": (21, "voc_21"),
}


def published(name: str) -> Path:
    return PUBLISHED / "fcclip" / f"{name}_with_prompt_eng.txt"


def as_fcclip_reads(name: str) -> dict[int, list[str]]:
    """The names by id, as its code splits them: at commas, with or without one space after them."""
    rows = [line.split(":") for line in published(name).read_text().splitlines()]
    return {int(i): names.replace(", ", ",").split(",") for i, names in rows if names != "invalid_class_id"}


@pytest.mark.parametrize(("name", "count", "packaged"), [(n, *rest) for n, rest in LISTS.items()])
def test_published_lists_are_vocabularies(name: str, count: int, packaged: str) -> None:
    vocabulary, ours = Vocabulary.load(published(name)), Vocabulary.load(packaged)
    assert len(vocabulary) == len(ours) == count
    assert vocabulary.ids[0] == (0 if name in ("cityscapes", "pascal_voc_21") else 1)
    assert vocabulary.ids == (tuple(range(19)) if name == "cityscapes" else ours.ids)
    assert vocabulary.is_thing == ours.is_thing


@pytest.mark.parametrize("name", LISTS)
def test_the_names_of_a_published_list_are_those_that_fcclip_uses(name: str) -> None:
    """In its order and spelling; a name that a line repeats does not change the maximum over the names."""
    vocabulary = Vocabulary.load(published(name))
    assert {c.id: list(c.names) for c in vocabulary.concepts} == {
        i: list(dict.fromkeys(names)) for i, names in as_fcclip_reads(name).items()
    }


@pytest.mark.parametrize("name", LISTS)
def test_seen_classes_are_those_of_fcclip(name: str) -> None:
    """It looks for a string of the test class among all strings of COCO's list, and does not ignore the case."""
    training = {n for names in as_fcclip_reads("coco_panoptic").values() for n in names}
    seen = Vocabulary.load(published(name)).seen_in(Vocabulary.load(published("coco_panoptic")))
    assert seen == tuple(not training.isdisjoint(names) for names in as_fcclip_reads(name).values())


@pytest.mark.parametrize(("name", "packaged"), [*((n, p) for n, (_, p) in LISTS.items()), ("pascal_voc_21", "voc_20")])
def test_a_packaged_vocabulary_takes_the_names_of_a_published_list(name: str, packaged: str) -> None:
    ours, renamed = Vocabulary.load(packaged), Vocabulary.load(f"{packaged}:{published(name)}")
    assert (renamed.ids, renamed.is_thing) == (ours.ids, ours.is_thing)
    names = list(as_fcclip_reads(name).values())[-len(ours) :]  # without the background for voc_20
    assert [list(c.names) for c in renamed.concepts] == [list(dict.fromkeys(n)) for n in names]


def test_another_datasets_list_is_refused() -> None:
    with pytest.raises(VocabularyError, match="does not list the classes of vocabulary 'ade20k': .* 1 to 150, or"):
        Vocabulary.load(f"ade20k:{published('ade20k_847')}")


def test_ade20ks_ids_mean_what_they_mean_in_its_own_list() -> None:
    rows = (PUBLISHED / "objectInfo150.txt").read_text().splitlines()[1:]
    for concept, row in zip(Vocabulary.load("ade20k").concepts, rows, strict=True):
        assert {n.strip() for n in row.split("\t")[-1].split(",")} & set(concept.names), row


OTHER_NAMES = {  # classes that share no name with the published list, compared by eye
    "mapillary_vistas": {24, 51},
    "pascal_ctx_59": {19, 40, 59},  # "computer" and "computer case"; compounds are two words in ours, "potted plant"
    "ade20k_847": {27, 176, 450},  # the dataset says "house" and "fan", not "house exterior" and "ceiling fan"
    "coco_stuff": {103, 117, 118, 142, 145, 164, 176, 177, 179},  # "ceiling-tile" is "tiled ceiling" in ours
    "lvis_1203": {698},  # a comma is missing there
    "pascal_ctx_459": {62, 63, 148, 308, 458},  # "casette", "fire place"
    "pascal_voc_21": {16},
}


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_each_id_means_the_same(name: str) -> None:
    theirs = as_fcclip_reads(name)
    ours = {c.id: {n.casefold() for n in c.names} for c in Vocabulary.load(LISTS[name][1]).concepts}
    assert {i for i in ours if ours[i].isdisjoint(n.casefold() for n in theirs[i])} == OTHER_NAMES[name]


def test_lvis_has_its_own_synonyms() -> None:
    """The published list is LVIS' `synonyms` as they are; the name of class 162, "bull", is not among its own."""
    theirs = {i: list(dict.fromkeys(names)) for i, names in as_fcclip_reads("lvis_1203").items()}
    theirs[162].insert(0, "bull")
    theirs[698] = ["monitor (computer equipment)", "computer monitor"]
    assert {c.id: list(c.names) for c in Vocabulary.load("lvis_1203").concepts} == theirs


def test_lvis_has_its_own_names() -> None:
    path = PUBLISHED.parent / "clip_text" / "rn50_a_name" / "lvis_names.json"
    own = [name.replace("_", " ") for name in json.loads(path.read_text())]
    own[697] = "monitor (computer equipment)"  # a comma is missing there
    assert list(Vocabulary.load("lvis_1203").names) == own


def test_coco_stuff_has_cocos_things() -> None:
    categories = json.loads((PUBLISHED / "panoptic_coco_categories.json").read_text())
    things = {c["id"] for c in categories if c["isthing"]}
    assert {c.id for c in Vocabulary.load("coco_stuff_171").concepts if c.is_thing} == things
