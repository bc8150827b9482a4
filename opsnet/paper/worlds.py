"""Where a table is measured: on the paper's data sets, or on those of the miniature in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from opsnet.utils.configuration import config_dir
from opsnet.utils.errors import InputError


@dataclass(frozen=True)
class World:
    """Where a table is measured.

    Attributes:
        name: of its yaml in conf/world.
        stands_for: a data set of the paper -> the domain that takes its place; empty where the sets are the paper's.
    """

    name: str
    stands_for: Mapping[str, str]

    @property
    def is_real(self) -> bool:
        """Whether the data sets are the paper's, so that results can be compared with its."""
        return not self.stands_for

    def domain(self, paper_set: str) -> str:
        """The domain that is measured for a data set of the paper."""
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
