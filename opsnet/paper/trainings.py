"""The trainings of the paper's tables, and the mapping from experiments of checkpoints and runs to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from opsnet.paper.old_names import current_name
from opsnet.paper.rows import TableRow, all_rows
from opsnet.utils.configuration import config_dir


@dataclass(frozen=True)
class Training:
    """A training of the paper.

    Attributes:
        name: name of its yaml in conf/experiment.
        starts_from: for a fine-tuning, the training whose checkpoint it starts from.
    """

    name: str
    starts_from: str | None = None


def trainings() -> tuple[Training, ...]:
    """All trainings, in the order of the tables."""
    names = dict.fromkeys(row.training for row in all_rows() if row.published_backbone is None)
    return tuple(training(name) for name in names)


def training(name: str) -> Training:
    """A training by its name."""
    return Training(name, _content(name).get("starts_from"))


def rows_of(name: str) -> tuple[TableRow, ...]:
    """The rows of a training or of published weights; empty for other experiments."""
    return tuple(row for row in all_rows() if row.training == name)


def training_of(experiment: str) -> str | None:
    """The training, or published weights, that an experiment corresponds to; ``None`` if there is none.

    An experiment corresponds to another if it changes only the name and the world: ``scenes`` is ``opsnet_r50`` in
    another world.

    Args:
        experiment: an experiment name, also an old one (``table1_row7``), as stored in older checkpoints.
    """
    name, seen = current_name(experiment), set[str]()
    while not rows_of(name):
        base = None if name in seen else _renamed(name)
        if base is None:
            return None
        seen.add(name)
        name = base
    return name


def _renamed(name: str) -> str | None:
    """The experiment from which this one differs only in its name and world."""
    content = _load(name)
    defaults = content.pop("defaults", [])
    bases = [entry for entry in defaults if isinstance(entry, str) and entry != "_self_"]
    groups = {key for entry in defaults if isinstance(entry, dict) for key in entry}
    if len(bases) != 1 or set(content) - {"experiment_name"} or groups - {"override /world"}:
        return None
    return current_name(bases[0])


def _content(name: str) -> dict[str, Any]:
    """The content of an experiment's yaml merged with its defaults."""
    content = _load(name)
    bases = [entry for entry in content.get("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    return {key: value for layer in (*map(_content, bases), content) for key, value in layer.items()}


def _load(name: str) -> dict[str, Any]:
    """An experiment's yaml; empty if there is none.

    The name may be a stranger's, of a checkpoint or of results: only names of the listing are read, no paths.
    """
    path = next((path for path in (config_dir() / "experiment").glob("*.yaml") if path.stem == name), None)
    return OmegaConf.to_container(OmegaConf.load(path)) or {} if path else {}  # type: ignore[return-value]
