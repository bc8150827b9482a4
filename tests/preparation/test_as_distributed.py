"""opsnet-prepare for datasets that are read as distributed: complete folders pass, each missing part is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from official_trees import coco_tree, mapillary_tree

from opsnet.commands.prepare import main
from opsnet.preparation.as_distributed import LAYOUTS, check
from opsnet.utils.errors import DatasetError

TREES = {"coco": coco_tree, "mapillary_vistas": mapillary_tree}


@pytest.mark.parametrize("name", TREES)
def test_the_layout_is_what_the_dataset_reads(name: str, tmp_path: Path, capsys, monkeypatch) -> None:
    """The trees of these tests are those that ``data=NAME`` is tested to read."""
    monkeypatch.setenv("OPSNET_DATA", str(tmp_path))
    TREES[name](tmp_path / name)
    main([name])
    assert f"opsnet-doctor data={name}\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", TREES)
def test_every_missing_part_is_named(name: str, tmp_path: Path) -> None:
    TREES[name](tmp_path)
    for parts in LAYOUTS[name].parts.values():
        for part in parts:
            path = tmp_path / part.paths[0]
            path.rename(tmp_path / "aside")
            with pytest.raises(DatasetError) as error:
                check(name, folder=tmp_path)
            assert str(path) in str(error.value)
            assert part.archive in str(error.value)
            (tmp_path / "aside").rename(path)


def test_another_folder_is_given_to_the_doctor_and_sets_can_be_chosen(tmp_path: Path, capsys) -> None:
    coco_tree(tmp_path)
    shutil.rmtree(tmp_path / "train2017")
    check("coco", folder=tmp_path, sets=["val"])
    assert f"opsnet-doctor data=coco data.root={tmp_path}\n" in capsys.readouterr().out


def test_mapillarys_second_release_passes(tmp_path: Path) -> None:
    mapillary_tree(tmp_path)
    for name in ("training", "validation"):
        (tmp_path / name / "v1.2").mkdir()
        (tmp_path / name / "panoptic").rename(tmp_path / name / "v1.2" / "panoptic")
    check("mapillary_vistas", folder=tmp_path)


@pytest.mark.parametrize("name", [name for name, layout in LAYOUTS.items() if layout.made_of or layout.note])
def test_the_others_say_what_they_consist_of(name: str, capsys) -> None:
    main([name])
    said = capsys.readouterr().out
    assert all(f"opsnet-prepare {other}" in said for other in LAYOUTS[name].made_of)
    assert LAYOUTS[name].note in said
