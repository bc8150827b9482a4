"""Vocabularies: every way to give one, and what is said about a bad one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opsnet.vocabulary.vocabulary import (
    Concept,
    Vocabulary,
    VocabularyError,
    load_training_vocabulary,
    packaged_vocabularies,
)

CAT, GRASS = Concept(7, "cat", True), Concept(3, "grass", False)


def test_views_keep_the_order_of_the_concepts() -> None:
    vocabulary = Vocabulary("tiny", (CAT, GRASS))
    assert len(vocabulary) == 2
    assert vocabulary.names == ("cat", "grass")
    assert vocabulary.is_thing == (True, False)
    assert vocabulary.ids == (7, 3)
    assert vocabulary.index_of_id == {7: 0, 3: 1}


def test_it_can_be_a_key() -> None:
    assert {Vocabulary("tiny", (CAT, GRASS)): 1}[Vocabulary("tiny", (CAT, GRASS))] == 1
    assert Vocabulary("tiny", (CAT, GRASS)) != Vocabulary("tiny", (GRASS, CAT))


@pytest.mark.parametrize(
    ("name", "things", "stuff"),
    [
        ("coco", 80, 53),
        ("ade20k", 100, 50),
        ("cityscapes", 8, 11),
        ("mapillary_vistas", 37, 28),
        ("pascal_context", 34, 25),
        ("pascal_context_459", 386, 73),
        ("ade20k_847", 664, 183),
        ("lvis_1203", 1203, 0),
        ("coco_stuff_171", 80, 91),
        ("bdd100k", 10, 30),
        ("voc_20", 20, 0),
        ("voc_21", 20, 1),
        ("camvid", 0, 11),
        ("scenes", 12, 6),
        ("scenes_novel", 16, 8),
        ("scenes_street", 8, 6),
        ("scenes_labels", 40, 20),
    ],
)
def test_packaged_vocabularies(name: str, things: int, stuff: int) -> None:
    assert name in packaged_vocabularies()
    vocabulary = Vocabulary.load(name)
    assert vocabulary.name == name
    assert sum(vocabulary.is_thing) == things
    assert len(vocabulary) == things + stuff


def test_coco_begins_with_its_person() -> None:
    assert Vocabulary.load("coco").concepts[0] == Concept(1, "person", True, ("man", "woman", "child"))


@pytest.mark.parametrize("name", ["scenes", "scenes_novel", "scenes_street", "scenes_labels"])
def test_the_embedded_domains_are_parts_of_one_world(name: str) -> None:
    assert set(Vocabulary.load(name).concepts) <= set(Vocabulary.load("scenes_world").concepts)


@pytest.mark.parametrize("name", ["scenes_novel", "scenes_street"])
def test_the_embedded_labels_name_what_a_foreign_domain_asks_beyond_training(name: str) -> None:
    foreign, known = set(Vocabulary.load(name).names), set(Vocabulary.load("scenes").names)
    assert foreign - known
    assert foreign - known <= set(Vocabulary.load("scenes_labels").names)


def test_comma_list_strips_and_skips_blanks() -> None:
    vocabulary = Vocabulary.load(" red fox,  green Stripes , ,sofa,")
    assert vocabulary.names == ("red fox", "green Stripes", "sofa")
    assert vocabulary.ids == (1, 2, 3)
    # Green stripes are stuff in the packaged vocabularies; names that nobody knows are things.
    assert vocabulary.is_thing == (True, False, True)


def test_one_word_is_a_vocabulary_of_one_name() -> None:
    assert Vocabulary.load("zebra").names == ("zebra",)


def test_txt_has_a_name_a_line(tmp_path: Path) -> None:
    path = tmp_path / "animals.txt"
    path.write_text("# seen in the zoo\ncat\n\n  sea \nCafé\n", encoding="utf-8")
    vocabulary = Vocabulary.load(path)
    assert vocabulary.name == "animals"
    assert vocabulary.names == ("cat", "sea", "Café")
    assert vocabulary.is_thing == (True, False, True)


def test_json_gives_ids_and_kinds(tmp_path: Path) -> None:
    path = tmp_path / "pets.json"
    rows = [{"id": 7, "name": "cat", "isthing": 1}, {"id": 3, "name": "grass", "isthing": 0}]
    path.write_text(json.dumps({"categories": rows}))
    assert Vocabulary.load(str(path)) == Vocabulary("pets", (CAT, GRASS))


@pytest.mark.parametrize("spec", ["cat, dog, Cat", "grass,grass"])
def test_a_name_twice_is_refused(spec: str) -> None:
    with pytest.raises(VocabularyError, match="'custom' has the name '(cat|grass)' twice: remove one"):
        Vocabulary.load(spec)


def test_an_id_twice_is_refused() -> None:
    with pytest.raises(VocabularyError, match="'tiny' has the id '7' twice: remove one"):
        Vocabulary("tiny", (CAT, Concept(7, "dog", True)))


@pytest.mark.parametrize("spec", ["", "   ", ",", " , ,"])
def test_empty_is_refused_with_an_example(spec: str) -> None:
    with pytest.raises(VocabularyError, match="empty: give at least one name, e.g. vocabulary='cat, grass'"):
        Vocabulary.load(spec)


def test_a_file_without_names_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nothing.txt"
    path.write_text("# no names\n\n")
    with pytest.raises(VocabularyError, match="'nothing' is empty"):
        Vocabulary.load(path)


@pytest.mark.parametrize("name", ["names.txt", "names.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(VocabularyError, match=f"{tmp_path / name} does not exist: check the path"):
        Vocabulary.load(tmp_path / name)


def test_a_path_with_another_ending_is_not_taken_for_a_name(tmp_path: Path) -> None:
    with pytest.raises(
        VocabularyError, match=r"is neither a packaged vocabulary nor a .json or .txt file: check the path\. "
    ):
        Vocabulary.load(tmp_path / "names.csv")


@pytest.mark.parametrize(
    "content",
    [
        "[1, 2]",
        '{"names": ["cat"]}',
        '{"categories": [{"id": 1, "name": "cat"}]}',
        '{"categories": [{"id": "one", "name": "cat", "isthing": 1}]}',
    ],
)
def test_a_json_of_another_form_is_named_with_the_form(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(VocabularyError) as error:
        Vocabulary.load(path)
    assert str(path) in str(error.value)
    assert '{"categories": [{"id", "name", "isthing"}]}' in str(error.value)


def test_a_text_file_of_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("café\n".encode("latin-1"))
    with pytest.raises(VocabularyError, match=f"{path} .*UTF-8"):
        Vocabulary.load(path)


def test_pascal_context_has_its_59_classes() -> None:
    assert Vocabulary.load("pascal_context").ids == tuple(range(1, 60))


def test_the_documented_table_lists_every_packaged_vocabulary() -> None:
    page = (Path(__file__).parents[2] / "docs" / "vocabularies.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.split("\n## ")[1].splitlines() if line.startswith("| `")]
    documented = {}
    for names, classes, things, *_ in rows[1:]:
        numbers = [[int(n.replace(",", "")) for n in cell.split(", ")] for cell in (classes, things)]
        documented |= dict(zip(names.replace("`", "").split(", "), zip(*numbers, strict=True), strict=True))
    loaded = {name: Vocabulary.load(name) for name in packaged_vocabularies()}
    assert documented == {name: (len(v), sum(v.is_thing)) for name, v in loaded.items()}


@pytest.mark.parametrize("name", packaged_vocabularies())
def test_packaged_names_are_words_and_mean_one_concept(name: str) -> None:
    names = [n for concept in Vocabulary.load(name).concepts for n in concept.names]
    assert all(n == " ".join(n.split()) and not set("_;,") & set(n) for n in names)
    assert not any(part in n for n in names for part in ("-merged", "-other", "-stuff"))
    assert len({n.casefold() for n in names}) == len(names)


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("ade20k_847", range(1, 848)),
        ("pascal_context_459", range(1, 460)),
        ("lvis_1203", range(1, 1204)),
        ("voc_20", range(1, 21)),
        ("voc_21", range(21)),
    ],
)
def test_ids_without_gaps(name: str, ids: range) -> None:
    assert Vocabulary.load(name).ids == tuple(ids)


def test_coco_stuff_has_cocos_ids() -> None:
    stuff, coco = Vocabulary.load("coco_stuff_171"), Vocabulary.load("coco")
    assert stuff.ids == tuple(i for i in range(1, 183) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91))
    both = [c for c in coco.concepts if c.id in stuff.index_of_id]
    assert len(both) == 80 + 36  # the other 17 of the panoptic classes are mergers
    for c in both:
        assert (c.name, c.is_thing) == (stuff.names[i := stuff.index_of_id[c.id]], stuff.is_thing[i])


def test_classes_of_a_large_list_are_of_the_kind_that_the_small_one_says() -> None:
    for small, large in (("ade20k", "ade20k_847"), ("pascal_context", "pascal_context_459")):
        kinds = {(c.name, c.is_thing) for c in Vocabulary.load(large).concepts}
        assert {(c.name, c.is_thing) for c in Vocabulary.load(small).concepts} <= kinds


def test_voc_21_is_the_background_and_voc_20() -> None:
    concepts = Vocabulary.load("voc_21").concepts
    assert concepts[0] == Concept(0, "background", False)
    assert concepts[1:] == Vocabulary.load("voc_20").concepts


def test_imagenet1k() -> None:
    vocabulary = Vocabulary.load("imagenet1k")
    assert vocabulary.ids == tuple(range(1000))
    assert vocabulary.names[0] == "tench"
    assert len(set(vocabulary.names)) == 998  # two pairs of classes share a name


def test_imagenet21k_is_keyed_by_synset() -> None:
    vocabulary = Vocabulary.load("imagenet21k")
    assert len(vocabulary) == 21_843
    assert len(set(vocabulary.names)) < 21_843
    siamese = vocabulary.concepts[vocabulary.index_of_id[2123597]]
    assert siamese.name.startswith("Siamese cat")
    assert siamese.synonyms


def test_categories_there_and_back() -> None:
    for name in ("coco", "scenes"):
        vocabulary = Vocabulary.load(name)
        assert Vocabulary.from_categories(name, vocabulary.categories()) == vocabulary
    assert "synonyms" not in Vocabulary("tiny", (CAT,)).categories()[0]


def test_commas_in_a_txt_separate_synonyms(tmp_path: Path) -> None:
    path = tmp_path / "pets.txt"
    path.write_text("cat, kitten , Cat,\ndog\n")
    assert Vocabulary.load(path).concepts == (Concept(1, "cat", True, ("kitten",)), Concept(2, "dog", True))


def test_a_keyed_list_keeps_its_ids(tmp_path: Path) -> None:
    path = tmp_path / "published.txt"
    path.write_text("0:invalid_class_id\n3:cat,kitten\n7 : cat\n9:grass\n")
    assert Vocabulary.load(path).concepts == (
        Concept(3, "cat", True, ("kitten",)),
        Concept(7, "cat", True),  # as in ADE20K's 847 classes: told apart by id
        Concept(9, "grass", False),
    )


def test_an_id_twice_in_a_keyed_list_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "published.txt"
    path.write_text("3:cat\n3:dog\n")
    with pytest.raises(VocabularyError, match="'published' has the id '3' twice"):
        Vocabulary.load(path)


CITYSCAPES = Vocabulary.load("cityscapes")


def keyed(path: Path, ids: range | tuple[int, ...], names: tuple[str, ...] = CITYSCAPES.names) -> Path:
    path.write_text("".join(f"{i}:{name},my {name}\n" for i, name in zip(ids, names, strict=True)))
    return path


@pytest.mark.parametrize("ids", [CITYSCAPES.ids, range(19)], ids=["ids of the dataset", "training ids"])
def test_a_list_of_a_packaged_datasets_classes_has_its_things(tmp_path: Path, ids: range | tuple[int, ...]) -> None:
    # By name, as in COCO, a traffic light is a thing; in Cityscapes it is stuff.
    path = keyed(tmp_path / "street.txt", ids)
    vocabulary = Vocabulary.load(path)
    assert vocabulary.ids == tuple(ids)
    assert vocabulary.is_thing == CITYSCAPES.is_thing
    renamed = Vocabulary.load(f"cityscapes:{path}")
    assert renamed.name == "street"
    assert (renamed.ids, renamed.is_thing) == (CITYSCAPES.ids, CITYSCAPES.is_thing)
    assert renamed.concepts[0] == Concept(7, "road", False, ("my road",))


def test_things_are_found_by_id_in_a_list_of_another_order(tmp_path: Path) -> None:
    vocabulary = Vocabulary.load(keyed(tmp_path / "street.txt", CITYSCAPES.ids[::-1], CITYSCAPES.names[::-1]))
    assert vocabulary.ids == CITYSCAPES.ids[::-1]
    assert vocabulary.is_thing == CITYSCAPES.is_thing[::-1]


def test_a_list_with_other_classes_goes_by_name(tmp_path: Path) -> None:
    path = keyed(tmp_path / "mine.txt", range(19), ("traffic light", "grass", *(f"class {i}" for i in range(17))))
    assert Vocabulary.load(path).is_thing == (True, False, *[True] * 17)
    with pytest.raises(VocabularyError) as error:
        Vocabulary.load(f"cityscapes:{path}")
    assert str(error.value) == (
        f"{path} does not list the classes of vocabulary 'cityscapes': write lines 'id:name,synonym' with its ids, "
        "7 to 33, or in its order with 0 to 18"
    )


def test_a_list_without_ids_cannot_rename(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(CITYSCAPES.names))
    with pytest.raises(VocabularyError, match="does not list the classes of vocabulary 'cityscapes'"):
        Vocabulary.load(f"cityscapes:{path}")


@pytest.mark.parametrize("line", [",", " , ,"])
def test_a_line_of_commas_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "names.txt"
    path.write_text(f"cat\n\n{line}\n")
    with pytest.raises(VocabularyError, match=f"line 3 of vocabulary file {path} has no name"):
        Vocabulary.load(path)


def test_ten_thousand_odd_words(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    words = [f"word {i}" for i in range(9_997)] + ["🦒", "x" * 300, "two\t words"]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(words).encode())
    vocabulary = Vocabulary.load(path)
    assert len(vocabulary) == 10_000
    assert vocabulary.names[0] == "word 0"
    assert vocabulary.names[-3:] == ("🦒", "x" * 300, "two words")


def test_a_list_without_things_does_not_decide() -> None:
    assert Vocabulary.load("camvid").is_thing == (False,) * 11
    assert Vocabulary.load("pedestrian").is_thing == (True,)


def test_cocos_word_on_thing_or_stuff_comes_first() -> None:
    # Cityscapes counts traffic lights as stuff; only ADE20K knows skyscrapers, as stuff; nobody knows a unicorn.
    assert Vocabulary.load("traffic light, tree, skyscraper, unicorn").is_thing == (True, False, False, True)


@pytest.mark.parametrize("synonyms", ["kitten", 5, [""], ["kitten", " "], ["kitten", 5]])
def test_synonyms_of_another_form_are_refused(tmp_path: Path, synonyms: object) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({"categories": [{"id": 1, "name": "cat", "isthing": 1, "synonyms": synonyms}]}))
    with pytest.raises(VocabularyError, match="is not of the form"):
        Vocabulary.load(path)


def test_concepts_are_seen_by_any_of_their_names() -> None:
    train = Vocabulary("train", (Concept(1, "couch", True, ("Sofa",)), Concept(2, "cat", True)))
    target = Vocabulary(
        "target",
        (
            Concept(1, "sofa", True),
            Concept(2, "dog", True),
            Concept(3, "kitten", True, ("CAT",)),
            Concept(4, "ca", True),
        ),
    )
    assert target.seen_in(train) == (True, False, True, False)
    assert all(train.seen_in(train))


def test_a_union_adds_what_is_new_under_new_ids() -> None:
    known = Vocabulary("a", (Concept(3, "cat", True, ("kitty",)), Concept(7, "grass", False)))
    other = Vocabulary("b", (Concept(3, "dog", True), Concept(4, "Kitty", True), Concept(5, "sky", False, ("blue",))))
    both = known.union(other)
    assert both.name == "a+b"
    assert both.concepts == (*known.concepts, Concept(8, "dog", True), Concept(9, "sky", False, ("blue",)))
    assert known.union(known).concepts == known.concepts


def test_a_json_list_of_names_is_a_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text('["building, edifice", "sky"]')
    for spec in (path, '["building, edifice", "sky"]', ["building, edifice", "sky"], ("building,  edifice", " sky")):
        vocabulary = Vocabulary.load(spec)
        assert [c.names for c in vocabulary.concepts] == [("building", "edifice"), ("sky",)]
        assert vocabulary.is_thing == (False, False)
        assert vocabulary.ids == (1, 2)


def test_semicolons_and_line_breaks_separate_classes_as_on_the_page() -> None:
    assert Vocabulary.load("building, edifice; sky\ntree").names == ("building", "edifice", "sky", "tree")


def test_what_is_no_vocabulary_at_all_is_refused() -> None:
    for spec in (None, 3, [None], ["cat", 3]):
        with pytest.raises(VocabularyError, match="text"):
            Vocabulary.load(spec)


def test_a_training_vocabulary_is_not_a_single_word() -> None:
    assert load_training_vocabulary("coco") == Vocabulary.load("coco")
    assert load_training_vocabulary("cat, dog").names == ("cat", "dog")
    assert load_training_vocabulary(["cat"]).names == ("cat",)
    with pytest.raises(VocabularyError, match="training vocabulary 'nope' is neither .*: the packaged ones are ade20k"):
        load_training_vocabulary("nope")
    with pytest.raises(VocabularyError, match=r"did you mean coco\?"):
        load_training_vocabulary("cocoo")
