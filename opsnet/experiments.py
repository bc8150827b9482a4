"""The rows of the paper's tables, as ``conf/experiment/tableT_rowR.yaml`` holds them.

A row is a training, or it scores the checkpoint of one in a setting of its own. The paper's figures stand in these
files and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from opsnet.configuration import config_dir
from opsnet.errors import InputError

PUBLISHED = "published"
"""In the place of a training: the row is Mask2Former itself, by weights that others trained."""

TITLES = {
    1: "From vanilla solutions to OPSNet",
    2: "Open-vocabulary panoptic segmentation",
    3: "OPSNet+: image-level labels with Decoupled Supervision",
    4: "Embedding Modulation against fixed ensembles",
    5: "Ways to get a proposal's CLIP embedding",
    6: "Grid over alpha (embedding fusion) and beta (logits debiasing)",
    7: "Scores that filter the proposals",
    8: "Open-vocabulary semantic segmentation",
    9: "Closed-vocabulary panoptic segmentation on COCO",
}

_FILE = re.compile(r"table(?P<table>\d+)_row(?P<row>\d+)")
_WORDS = ("name", "note", "corrected")

Figures = Mapping[str, Mapping[str, float]]
"""Domain -> measure -> percent."""


@dataclass(frozen=True)
class ExperimentRow:
    """A row of a table of the paper.

    Attributes:
        name: of its yaml, e.g. ``table4_row3``.
        table, row: numbers in the paper; rows of Table 6 are its cells, row by row.
        title: what the paper calls it.
        training: the experiment whose checkpoint it scores, its own name where it is a training; or ``PUBLISHED``.
        settings: how the checkpoint is scored, see :func:`opsnet.settings.parse_setting`; none for published weights.
        paper: the paper's figures as printed.
        corrected: what the paper's other figures say in the place of a misprint.
        note: on the figures.
        starts_from: the experiment whose checkpoint a fine-tuning starts from.
    """

    name: str
    table: int
    row: int
    title: str
    training: str
    settings: tuple[str, ...]
    paper: Figures
    corrected: Figures
    note: str | None
    starts_from: str | None = None

    @property
    def is_training(self) -> bool:
        """Whether the row is a training of its own."""
        return self.training == self.name

    @property
    def measured_as(self) -> str:
        """The setting's name in the figures of an evaluation."""
        return self.settings[0] if self.settings else "mask2former"

    def published(self, domain: str, measure: str) -> float | None:
        """The paper's figure in percent, a misprint put right; ``None`` where it gives none."""
        figures = self.corrected if measure in self.corrected.get(domain, {}) else self.paper
        value = figures.get(domain, {}).get(measure)
        return None if value is None else float(value)


@dataclass(frozen=True)
class World:
    """Where a table is measured.

    Attributes:
        name: of its yaml in conf/world.
        stands_for: a set of the paper -> the domain that takes its place; empty where the sets are the paper's.
    """

    name: str
    stands_for: Mapping[str, str]

    @property
    def is_real(self) -> bool:
        """Whether the sets are the paper's, so that figures can be compared with its."""
        return not self.stands_for

    def domain(self, paper_set: str) -> str:
        """The domain that is measured for a set of the paper."""
        return self.stands_for.get(paper_set, paper_set)


def load_world(name: str) -> World:
    """A world by its name.

    Raises:
        InputError: there is none of that name.
    """
    path = config_dir() / "world" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise InputError(f"world '{name}': there are {known}")
    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    return World(name, content.get("stands_for", {}))


def tables() -> tuple[int, ...]:
    """Numbers of the tables that have rows."""
    return tuple(sorted({row.table for row in _all_rows()}))


def experiment_rows(table: int | str) -> tuple[ExperimentRow, ...]:
    """The rows of a table in the paper's order.

    Args:
        table: its number, or ``table6``.

    Raises:
        InputError: the paper has no such table, or a yaml is not that of a row.
    """
    number = str(table).removeprefix("table")
    rows = tuple(row for row in _all_rows() if str(row.table) == number)
    if not rows:
        raise InputError(f"table {table}: there are rows of tables {', '.join(map(str, tables()))} in conf/experiment")
    return rows


def experiment_row(name: str) -> ExperimentRow | None:
    """The row of an experiment's name, ``None`` where the experiment is no row of a table."""
    return next((row for row in _all_rows() if row.name == name), None)


def row_of_experiment(name: str) -> ExperimentRow | None:
    """The row that an experiment is: its own name's, or that of the row whose yaml it only names and places anew.

    ``scenes`` is ``table1_row7`` in another world, for example; ``None`` for an experiment that changes more.
    """
    seen: set[str] = set()
    while (row := experiment_row(name)) is None:
        path = config_dir() / "experiment" / f"{name}.yaml"
        if name in seen or not path.is_file():
            return None
        seen.add(name)
        content: Any = OmegaConf.to_container(OmegaConf.load(path)) or {}
        defaults = content.pop("defaults", [])
        bases = [entry for entry in defaults if isinstance(entry, str) and entry != "_self_"]
        groups = {key for entry in defaults if isinstance(entry, dict) for key in entry}
        if len(bases) != 1 or set(content) - {"experiment_name"} or groups - {"override /world"}:
            return None
        name = bases[0]
    return row


def require_training(cfg: Mapping[str, Any]) -> None:
    """Checks that a configuration is one to train.

    Raises:
        InputError: it is a row that scores the checkpoint of another experiment, or published weights.
    """
    training = cfg.get("training")
    if training == PUBLISHED:
        raise InputError(
            f"{cfg['experiment_name']} is not trained but scored, by published weights: "
            f"python scripts/score_mask2former.py experiment={cfg['experiment_name']} model.weights=PATH"
        )
    if training is not None:
        raise InputError(
            f"{cfg['experiment_name']} is not trained but scored, on the checkpoint of {training}: "
            f"opsnet-train experiment={training}, then opsnet-evaluate experiment={cfg['experiment_name']} "
            "checkpoint=PATH"
        )


@cache
def _all_rows() -> tuple[ExperimentRow, ...]:
    rows = [_read(path) for path in (config_dir() / "experiment").glob("table*_row*.yaml")]
    return tuple(sorted(rows, key=lambda row: (row.table, row.row)))


def _read(path: Path) -> ExperimentRow:
    match = _FILE.fullmatch(path.stem)
    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    try:
        if match is None or content["experiment_name"] != path.stem:
            raise ValueError("its file and its experiment_name must both be tableT_rowR")
        paper = dict(content["paper"])
        figures = {domain: values for domain, values in paper.items() if domain not in _WORDS}
        return ExperimentRow(
            path.stem, int(match["table"]), int(match["row"]), str(paper["name"]),
            content.get("training", path.stem), tuple(content["settings"]), figures,
            paper.get("corrected", {}), paper.get("note"), content.get("starts_from"),
        )  # fmt: skip
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not a row of a table ({error!r}): give experiment_name, settings, paper"
        ) from error
