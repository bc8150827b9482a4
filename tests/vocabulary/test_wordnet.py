"""Subtrees of WordNet, on one of five synsets in WordNet's own format; and the preparation that installs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nltk
import pytest

from opsnet.commands.prepare import main
from opsnet.preparation import wordnet
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.name_tree import NameTree
from opsnet.vocabulary.wordnet import WordNetError, subtree, tree

# name of the first lemma -> all lemmas, synsets below it, individuals below it
SYNSETS = {
    "animal": (["animal", "creature"], ["cat", "dog"], []),
    "cat": (["cat", "true_cat"], ["siamese"], []),
    "dog": (["dog"], [], ["rex"]),
    "siamese": (["siamese", "Cat"], [], []),
    "rex": (["rex"], [], []),
}


def tiny_wordnet(folder: Path) -> dict[str, int]:
    """Writes the files that nltk reads; answers each synset's offset, the byte where its line begins."""
    folder.mkdir(parents=True)
    lines, offsets = [], dict.fromkeys(SYNSETS, 0)
    for _ in range(2):  # lines have the same lengths the second time, with the right offsets in them
        lines, position = [], 0
        for name, (lemmas, below, individuals) in SYNSETS.items():
            words = " ".join(f"{lemma} 0" for lemma in lemmas)
            pointers = [
                f"{mark} {offsets[n]:08d} n 0000" for mark, ns in (("~", below), ("~i", individuals)) for n in ns
            ]
            ends = " ".join([f"{len(pointers):03d}", *pointers])
            line = f"{position:08d} 05 n {len(lemmas):02x} {words} {ends} | a gloss\n"
            offsets[name] = position
            position += len(line)
            lines.append(line)
    (folder / "data.noun").write_text("".join(lines))
    known = [(lemma.lower(), name) for name, (lemmas, _, _) in SYNSETS.items() for lemma in lemmas]
    index = []
    for lemma in sorted({lemma for lemma, _ in known}):
        found = [offsets[name] for other, name in known if other == lemma]
        index.append(f"{lemma} n {len(found)} 0 {len(found)} 0 {' '.join(f'{o:08d}' for o in found)}\n")
    (folder / "index.noun").write_text("".join(index))
    for name in ("data.verb", "data.adj", "data.adv", "index.verb", "index.adj", "index.adv", "index.sense"):
        (folder / name).write_text("")
    for name in ("noun.exc", "verb.exc", "adj.exc", "adv.exc", "cntlist.rev"):
        (folder / name).write_text("")
    return offsets


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """nltk looks into ``tmp_path`` alone, and reads anew."""
    from nltk.corpus.reader import WordNetCorpusReader
    from nltk.corpus.util import LazyCorpusLoader

    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "nltk_data")])
    loader = LazyCorpusLoader("wordnet", WordNetCorpusReader, None)
    monkeypatch.setattr("nltk.corpus.wordnet", loader)
    yield


@pytest.fixture
def offsets(tmp_path: Path, reader: None) -> dict[str, int]:
    source = tmp_path / "source"
    offsets = tiny_wordnet(source)
    wordnet.prepare(tmp_path / "nltk_data", source=source)
    return offsets


def test_a_subtree_has_all_below_and_no_individuals(offsets: dict[str, int]) -> None:
    found = dict(subtree("animal.n.01"))
    assert found == {
        offsets["animal"]: ["animal", "creature"],
        offsets["cat"]: ["cat", "true cat"],
        offsets["dog"]: ["dog"],
        offsets["siamese"]: ["siamese", "Cat"],
    }
    assert subtree("animal.n.01")[0][0] == offsets["animal"]


def test_it_is_a_vocabulary_keyed_by_offset(offsets: dict[str, int]) -> None:
    vocabulary = Vocabulary.load("wordnet:cat.n.01")
    assert vocabulary.ids == (offsets["cat"], offsets["siamese"])
    assert vocabulary.names == ("cat", "siamese")
    assert vocabulary.concepts[1].synonyms == ("Cat",)  # a name of two concepts, as in WordNet


@pytest.mark.parametrize("name", ["animal", "unicorn.n.01", "animal.n.09", ""])
def test_an_unknown_synset_is_named_with_an_example(name: str, offsets: dict[str, int]) -> None:
    with pytest.raises(WordNetError, match=f"WordNet has no synset '{name}': write one like wordnet:animal.n.01"):
        Vocabulary.load(f"wordnet:{name}")


def test_where_wordnet_is_missing_the_way_to_get_it_is_said(reader: None) -> None:
    with pytest.raises(WordNetError, match="run opsnet-prepare wordnet, or set NLTK_DATA"):
        Vocabulary.load("wordnet:animal.n.01")


def test_the_file_that_debian_leaves_out(tmp_path: Path, offsets: dict[str, int], capsys) -> None:
    lines = (tmp_path / "nltk_data" / "corpora" / "wordnet" / "lexnames").read_text().splitlines()
    assert len(lines) == 45
    assert lines[5] == "05\tnoun.animal\t1"
    assert lines[44] == "44\tadj.ppl\t3"
    wordnet.prepare(tmp_path / "nltk_data")
    assert "already exists" in capsys.readouterr().out


def test_a_folder_that_is_not_wordnet_is_refused(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(["wordnet", str(tmp_path / "new"), "--source", str(tmp_path)])
    assert end.value.code == 2
    assert "does not hold data.noun and index.sense" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_synset_stands_below_its_most_specific_hypernym(reader: None, tmp_path: Path, monkeypatch) -> None:
    synsets = {
        "animal": (["animal"], ["pet", "mammal"], []),
        "pet": (["pet"], ["cat"], []),
        "mammal": (["mammal"], ["feline"], []),
        "feline": (["feline"], ["cat"], []),
        "cat": (["cat"], [], []),
    }
    monkeypatch.setitem(globals(), "SYNSETS", synsets)
    tiny_wordnet(tmp_path / "source")
    wordnet.prepare(tmp_path / "nltk_data", source=tmp_path / "source")
    rows = tree("animal.n.01")
    above = {lemmas[0]: rows[parent][1][0] if parent >= 0 else None for _, lemmas, parent in rows}
    assert above == {"animal": None, "pet": "animal", "mammal": "animal", "feline": "mammal", "cat": "feline"}
    assert all(parent < index for index, (_, _, parent) in enumerate(rows))


# Root -> paths below it, by hand, each ending with the first name of its synset.
PATHS = {
    "animal.n.01": {
        "siamese_cat.n.01": "chordate vertebrate mammal placental carnivore feline cat domestic_cat Siamese_cat",
        "dog.n.01": "chordate vertebrate mammal placental carnivore canine dog",
        "african_elephant.n.01": "chordate vertebrate mammal placental pachyderm elephant African_elephant",
        "zebra.n.01": "chordate vertebrate mammal placental ungulate odd-toed_ungulate equine zebra",
        "bald_eagle.n.01": "chordate vertebrate bird bird_of_prey eagle bald_eagle",
        "king_penguin.n.01": "chordate vertebrate bird aquatic_bird seabird sphenisciform_seabird penguin king_penguin",
        "great_white_shark.n.01": (
            "chordate vertebrate aquatic_vertebrate fish cartilaginous_fish elasmobranch shark mackerel_shark "
            "great_white_shark"
        ),
        "goldfish.n.01": (
            "chordate vertebrate aquatic_vertebrate fish bony_fish teleost_fish soft-finned_fish cypriniform_fish "
            "cyprinid goldfish"
        ),
        "common_iguana.n.01": "chordate vertebrate reptile diapsid saurian lizard iguanid common_iguana",
        "monarch.n.02": "invertebrate arthropod insect lepidopterous_insect butterfly danaid monarch",
    },
    "vehicle.n.01": {
        "minivan.n.01": "wheeled_vehicle self-propelled_vehicle motor_vehicle truck van passenger_van minivan",
        "fire_engine.n.01": "wheeled_vehicle self-propelled_vehicle motor_vehicle truck fire_engine",
        "steam_locomotive.n.01": "wheeled_vehicle self-propelled_vehicle locomotive steam_locomotive",
        "bicycle.n.01": "wheeled_vehicle bicycle",
        "sloop.n.01": "craft vessel sailing_vessel sloop",
    },
    "plant.n.02": {
        "sunflower.n.01": "vascular_plant spermatophyte angiosperm flower sunflower",
        "bonsai.n.01": "vascular_plant woody_plant tree bonsai",
    },
    "food.n.02": {
        "granny_smith.n.01": "produce edible_fruit apple eating_apple Granny_Smith",
        "strawberry.n.01": "produce edible_fruit berry strawberry",
    },
    "furniture.n.01": {"rocking_chair.n.01": "seat chair rocking_chair"},
}


@pytest.mark.slow
@pytest.mark.parametrize("root", PATHS)
def test_the_levels_of_wordnet_itself(root: str, reader: None, tmp_path: Path) -> None:
    from nltk.corpus import wordnet as corpus

    wordnet.prepare(tmp_path / "nltk_data")
    names = NameTree.load(f"wordnet:{root}")
    concepts = names.vocabulary.concepts
    for synset, path in PATHS[root].items():
        index, found = names.vocabulary.ids.index(corpus.synset(synset).offset()), []
        while concepts[index].id != corpus.synset(root).offset():
            found.append(concepts[index].name)
            index = names.parent[index]
        assert found[::-1] == [level.replace("_", " ") for level in path.split()]
        above = [[s.name() for s in way] for way in corpus.synset(synset).hypernym_paths()]
        lengths = [len(way) - 1 - way.index(root) for way in above if root in way]
        assert len(found) == max(lengths)  # nltk's own longest way
