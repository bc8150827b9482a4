"""opsnet-prepare own, for all kinds of labels: folders, the shared vocabulary, arguments."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from own_exports import cvat_tree, studio_tree, yolo_tree
from own_sets import Prepare, coco_tree, labelme_tree, masks_tree, read, refused, save_image, vocabulary_of, write

from opsnet.preparation.own import Destination, prepare_coco
from opsnet.utils.files import write_json


def test_folders_and_stems(tmp_path: Path, prepare: Prepare) -> None:
    arguments = masks_tree(tmp_path)
    save_image(tmp_path / "images" / "a" / "one.png")
    refused(prepare, arguments, f"{tmp_path / 'images'} has a/one.jpg and a/one.png", "rename or remove")
    (tmp_path / "images" / "a" / "one.png").unlink()
    save_image(tmp_path / "images" / "1.jpg")
    save_image(tmp_path / "images" / "01.jpg")
    refused(prepare, arguments, "01.jpg and 1.jpg")
    (tmp_path / "empty" / ".hidden").mkdir(parents=True)
    save_image(tmp_path / "empty" / ".hidden" / "a.jpg")
    refused(
        prepare, ["masks", tmp_path / "empty", *arguments[2:]], f"folder {tmp_path / 'empty'} has no", "check the path"
    )
    refused(prepare, ["labelme", tmp_path / "empty"], "has no .json file")
    for kind in (["masks", tmp_path / "no", *arguments[2:]], ["labelme", tmp_path / "no"]):
        refused(prepare, kind, f"folder {tmp_path / 'no'} does not exist")


def test_files_that_are_not_json(tmp_path: Path, prepare: Prepare) -> None:
    coco, labelme = coco_tree(tmp_path), labelme_tree(tmp_path)
    refused(prepare, [*coco[:2], tmp_path / "no.json"], f"{tmp_path / 'no.json'} does not exist")
    for path, arguments in ((tmp_path / "bad.json", coco), (tmp_path / "own" / "a" / "bad.json", labelme)):
        path.write_text("{")
        refused(prepare, [*coco[:2], path] if arguments is coco else labelme, f"{path} is not valid json")


def test_sets_share_one_vocabulary(tmp_path: Path, prepare: Prepare) -> None:
    prepare(*coco_tree(tmp_path / "train"))
    shared = tmp_path / "dst" / "vocabulary.json"
    content = json.loads(shared.read_text())
    content["categories"][1]["synonyms"] = ["mug"]  # added by hand: sets do not need to have them
    write(shared, content)
    fewer = coco_tree(tmp_path / "few", lambda c: c.update(categories=[c["categories"][1]], annotations=[]))
    prepare(*fewer, "--set", "few")
    assert len(vocabulary_of(tmp_path / "dst")) == 4
    more = coco_tree(tmp_path / "more", lambda c: c["categories"].append({"id": 11, "name": "sky"}))
    fix = f"give --vocabulary {shared}, or another --dst"
    refused(
        prepare, [*more, "--set", "val"], f"{shared}, which all sets in its folder share", "lacks 11: sky (thing)", fix
    )
    other = coco_tree(tmp_path / "other", lambda c: c["categories"][2].update(name="dog"))
    refused(prepare, [*other, "--set", "val"], "has 5: lid (thing) instead of 5: dog (thing)", fix)
    kind = coco_tree(tmp_path / "kind", lambda c: c["categories"][3].pop("isthing"))
    refused(prepare, [*kind, "--set", "val"], "has 9: grass (stuff) instead of 9: grass (thing)", fix)
    prepare(*kind, "--set", "val", "--vocabulary", shared)
    assert read(tmp_path / "dst", "val")[40][1] == read(tmp_path / "dst")[40][1]
    labels = labelme_tree(tmp_path / "labels")
    refused(prepare, [*labels, "--set", "val2"], f"first.json has the label 'cat', which the vocabulary {shared} lacks")


def test_stuff_and_things_must_be_known_names(tmp_path: Path, prepare: Prepare) -> None:
    arguments = coco_tree(tmp_path)
    refused(prepare, [*arguments, "--stuff", "gras"], "--stuff has 'gras', which is not a name in vocabulary")
    refused(prepare, [*arguments, "--stuff", "cup", "--things", "Cup"], "'Cup' is in --stuff and in --things")


@pytest.mark.parametrize("words", [["--set", "a/b"], ["--void", "x"], ["--connected", "--instances", "a"]])
def test_invalid_arguments_are_refused(tmp_path: Path, prepare: Prepare, words: list[str]) -> None:
    assert words[0] in prepare(*masks_tree(tmp_path), *words, code=2)


@pytest.mark.parametrize("tree", [coco_tree, cvat_tree, labelme_tree, studio_tree, yolo_tree])
def test_a_stopped_preparation_resumes(tree: Callable[[Path], list[object]], tmp_path: Path, prepare: Prepare) -> None:
    """What is finished is not written again, unless an option changed; nothing but whole files is left behind."""
    arguments = tree(tmp_path)
    prepare(*arguments)
    json_file = tmp_path / "dst" / "panoptic_train.json"
    content, pngs = json_file.read_bytes(), sorted(json_file.with_suffix("").rglob("*.png"))
    parts = json_file.with_name(f".{json_file.stem}.parts")
    assert pngs and not parts.exists()
    write_parts = "opsnet.data.conversion.write_json"
    json_file.unlink()
    with pytest.MonkeyPatch.context() as patch:  # killed before the json is written, when all images are done
        patch.setattr(write_parts, lambda path, value: refuse_last(path, json_file, value))
        with pytest.raises(InterruptedError):
            prepare(*arguments)
    assert not json_file.exists()
    assert " at 0x" not in (parts / "recipe.txt").read_text()  # an address, which differs from run to run
    before = [path.stat().st_mtime_ns for path in pngs]
    prepare(*arguments)
    assert [path.stat().st_mtime_ns for path in pngs] == before
    assert json_file.read_bytes() == content and not parts.exists()


def refuse_last(path: Path, last: Path, value: object) -> None:
    if path == last:
        raise InterruptedError
    write_json(path, value)


def test_from_python(tmp_path: Path) -> None:
    """The command's work is a function with defaults."""
    _, images, annotations = coco_tree(tmp_path)
    prepare_coco(Path(images), Path(annotations), Destination("train", tmp_path / "dst", stuff=["table"], workers=1))
    assert vocabulary_of(tmp_path / "dst") == [(1, "table", 0), (2, "cup", 1), (5, "lid", 1), (9, "grass", 0)]
    assert len(read(tmp_path / "dst")) == 2
