"""A panoptic set for training: dataset and doctor read the same files and must agree."""

from __future__ import annotations

from pathlib import Path
from random import Random

from opsnet.data.findings import Finding
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.data.set_inspection import PanopticInspector
from opsnet.utils.errors import InputError
from scripts.fuzz import seeds
from scripts.fuzz.cases import Case, Untrue
from scripts.fuzz.mutation import mutated_json, mutated_png


def case(seed: int) -> Case:
    """A panoptic set of one image, with changes to its json, and sometimes to its PNG, image or vocabulary."""
    rng = Random(seed)
    files = {
        "set.json": mutated_json(rng, seeds.panoptic()),
        "set/a.png": seeds.ids_png(),
        "images/a.png": seeds.photo(),
        "v.json": seeds.VOCABULARY,
    }
    if rng.random() < 0.2:
        files["set.json"] = mutated_json(rng, seeds.panoptic(), 0)
        name = rng.choice(["set/a.png", "images/a.png"])
        files[name] = mutated_png(rng, files[name])
    return Case(files)


def run(given: Case, folder: Path) -> None:
    """Inspects the set, then reads it as training does.

    Raises:
        InputError: the dataset refuses it.
        Untrue: it does, but the doctor found no error.
    """
    given.write(folder)
    options = {"images": folder / "images", "annotations": folder / "set.json", "vocabulary": str(folder / "v.json")}
    found: list[Finding] = []
    inspected = PanopticInspector.from_keywords(options).inspect(found.append, samples=1)
    try:
        dataset = PanopticDataset(**options)
        dataset.check_pixels()
        for index in range(len(dataset)):
            dataset[index]
    except InputError as error:
        if not any(finding.kind.severity == "error" for finding in found):
            raise Untrue(f"the doctor found no error in {inspected.images} images, but: {error}") from error
        raise
