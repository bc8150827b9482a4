"""Worlds: a table is measured either on the paper's datasets or on the miniature's substitutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from opsnet.utils.configuration import config_dir
from opsnet.utils.errors import InputError


@dataclass(frozen=True)
class World:
    """The datasets on which a table is measured.

    Attributes:
        name: name of its yaml in conf/world.
        stands_for: dataset of the paper -> the domain that replaces it; empty if they are the paper's datasets.
    """

    name: str
    stands_for: Mapping[str, str]

    @property
    def is_real(self) -> bool:
        """Whether the datasets are the paper's, so that results are comparable."""
        return not self.stands_for

    def domain(self, paper_set: str) -> str:
        """The domain that corresponds to a dataset of the paper."""
        return self.stands_for.get(paper_set, paper_set)


def load_world(name: str) -> World:
    """Loads a world by name.

    Raises:
        InputError: there is no world of that name.
    """
    path = config_dir() / "world" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise InputError(f"world '{name}': there are {known}")
    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    return World(name, content.get("stands_for", {}))
