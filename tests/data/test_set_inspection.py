"""The examination of whole sets: each defect, planted alone in a sound set, is found; and nothing else is."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
from planted_defects import DEFECTS, Defect, PlantedSet, sound_set

from opsnet.data import findings as kinds
from opsnet.data.findings import Finding, Kind
from opsnet.data.inspectors import inspector_of
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.data.set_inspection import Inspection
from opsnet.utils.errors import DatasetError

# Errors that training does not see, because it compares no areas, sizes or crowd.
SILENT = {kinds.WRONG_SIZE, kinds.WRONG_AREA, kinds.REPEATED_CROWD}
KINDS = {value for value in vars(kinds).values() if isinstance(value, Kind)}


@pytest.fixture
def made(tmp_path: Path) -> PlantedSet:
    return sound_set(tmp_path)


def examine(made: PlantedSet, **options) -> tuple[list[Finding], Inspection]:
    found: list[Finding] = []
    inspector = inspector_of(made.builder)
    assert inspector is not None
    return found, inspector.inspect(found.append, **options)


def test_every_kind_is_planted() -> None:
    of_labels = {
        kinds.UNFIT_LABELS,
        kinds.UNLABELLED,
        kinds.UNKNOWN_LABELS,
        kinds.DAMAGED_SAMPLE,
    }  # test_label_inspection
    assert {defect.kind for defect in DEFECTS} == KINDS - of_labels
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def test_a_sound_set_has_no_findings_and_every_segment_is_counted(made):
    found, result = examine(made, samples=6)
    assert found == []
    assert (result.images, result.annotations) == (3, 3)
    assert (result.things, result.stuff, result.crowd, result.unknown, result.segments) == (4, 2, 2, 0, 8)
    assert result.images_per_class == {0: 2, 1: 2, 2: 2}
    assert [p.name for p in result.samples] == ["p0.png", "p1.png", "p2.png"]


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda d: f"{d.kind.name}-{d.offender}")
def test_a_defect_is_found_alone(defect: Defect, made):
    defect.plant(made)
    found, _ = examine(made)
    assert {f.kind for f in found} == {defect.kind, *defect.also}
    offenders = [f.where for f in found if f.kind == defect.kind]
    assert len(offenders) == 1
    assert offenders[0].endswith(defect.offender)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda d: f"{d.kind.name}-{d.offender}")
def test_what_the_data_set_refuses_is_an_error(defect: Defect, made):
    defect.plant(made)
    is_silent = defect.kind.severity == "warning" or defect.kind in SILENT
    with nullcontext() if is_silent else pytest.raises(DatasetError):
        dataset = made.builder()
        dataset.check_pixels()
        assert len([dataset[i] for i in range(len(dataset))]) == 3


def test_several_defects_are_all_found(made):
    for defect in DEFECTS:
        if defect.kind in (kinds.WRONG_AREA, kinds.MISSING_PNG, kinds.ORPHAN_IMAGE, kinds.OTHER_KIND):
            defect.plant(made)
    assert [f.kind for f in examine(made)[0]] == [
        kinds.OTHER_KIND, kinds.MISSING_PNG, kinds.ORPHAN_IMAGE, kinds.WRONG_AREA,
    ]  # fmt: skip


def test_a_limit_examines_the_first_and_forgives_the_rest(made):
    (made.images / "p2.png").unlink()
    (made.segments / "p1.png").write_text("no image")
    found, result = examine(made, limit=1)
    assert (found, result.annotations, result.images) == ([], 1, 3)
    found, result = examine(made, limit=2)
    assert [f.kind for f in found] == [kinds.UNREADABLE_PNG]


def test_the_smaller_limit_counts(made):
    inspector = inspector_of(partial(PanopticDataset, **made.builder.keywords, limit=2))
    assert inspector.inspect(lambda finding: None).annotations == 2
    assert inspector.inspect(lambda finding: None, limit=1).annotations == 1
    assert inspector.inspect(lambda finding: None, limit=3).annotations == 2


def test_samples_are_drawable_and_spread_over_the_set(made):
    def ten(data):
        data["images"] = [{"id": i, "file_name": "p0.png"} for i in range(10)]
        data["annotations"] = [{**data["annotations"][0], "image_id": i} for i in range(10)]
        data["annotations"][9]["file_name"] = "p3.png"

    made.edit(ten)
    (made.segments / "p3.png").write_text("no image")
    _, result = examine(made, samples=3)
    assert [p.annotation["image_id"] for p in result.samples] == [1, 4, 7]
    assert examine(made, samples=0)[1].samples == []


def test_sub_folders_links_and_hidden_files(made):
    (made.images / "town").mkdir()
    shutil.move(made.images / "p0.png", made.images / "town" / "p0.png")
    (made.images / "p0.png").symlink_to(made.images / "town" / "p0.png")
    (made.images / ".DS_Store").touch()
    made.edit(lambda data: data["images"][0].update(file_name="./town/p0.png"))
    found, _ = examine(made)
    assert [(f.kind, f.where) for f in found] == [(kinds.ORPHAN_IMAGE, "p0.png")]
    made.edit(lambda data: data["images"][0].update(file_name="p0.png"))
    assert examine(made)[0] == []
    shutil.rmtree(made.images / "town")
    assert [f.kind for f in examine(made)[0]] == [kinds.MISSING_IMAGE]


def test_equal_sets_are_equal_and_others_have_no_inspector(made):
    assert inspector_of(made.builder) == inspector_of(made.builder)
    assert len({inspector_of(made.builder), inspector_of(made.builder)}) == 1
    assert inspector_of(partial(dict)) is None
    assert inspector_of(None) is None


def test_a_set_without_its_folder_is_refused(made):
    with pytest.raises(DatasetError, match="no `images`: give it in `data.module`"):
        inspector_of(partial(PanopticDataset, **{**made.builder.keywords, "images": None}))
