"""The location of the Hydra configuration, and the options of its groups."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from opsnet.utils.errors import InputError


class ConfigurationError(FileNotFoundError):
    """No configuration folder was found; the message names the searched paths and the fix."""


def config_dir() -> Path:
    """The absolute path of the configuration: ``conf/`` of the source checkout, else the installed ``opsnet/conf``.

    Raises:
        ConfigurationError: neither exists.
    """
    return _find(Path(__file__).resolve().parents[1])


def _find(package: Path) -> Path:
    """The configuration of the package with sources in ``package``."""
    checkout, installed = package.parent / "conf", package / "conf"
    # A conf/ next to an installed package may belong to anything; only a checkout has a pyproject.toml there.
    if checkout.is_dir() and (package.parent / "pyproject.toml").is_file():
        return checkout
    if installed.is_dir():
        return installed
    raise ConfigurationError(
        f"no configuration at '{checkout}' (source checkout) or '{installed}' (installed package): "
        "restore conf/ in the checkout, or install opsnet again with `pip install --force-reinstall .`"
    )


def options(group: str) -> tuple[str, ...]:
    """Names of the options of a group such as ``modulation``, those of ``--config-dir`` among them."""
    return tuple(sorted(_files(group, _search_path())))


def option(group: str, name: str) -> Any:
    """The content of an option's yaml.

    Args:
        group: a folder of the configuration.
        name: one of :func:`options`; other names are refused, so no other path can be read.

    Raises:
        KeyError: the group has no such option.
        InputError: a yaml of ``--config-dir`` has a defaults list, which only Hydra can resolve.
    """
    path = _files(group, _search_path())[name]
    content = _load(path)
    if "defaults" in content and config_dir() not in path.parents:
        raise InputError(
            f"{group}/{name}.yaml has a defaults list, which is not resolved where an option is chosen by its name "
            "alone (settings=[...]): write all its keys into it"
        )
    return content


def _search_path() -> tuple[Path, ...]:
    """Folders with options, in Hydra's order of precedence: the package's, then ``--config-dir`` of a command."""
    from hydra.core.hydra_config import HydraConfig

    own = config_dir()
    sources = HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else ()
    given = [Path(source.path) for source in sources if source.schema == "file"]
    return (own, *(folder for folder in given if folder != own))


@cache
def _files(group: str, folders: tuple[Path, ...]) -> dict[str, Path]:
    return {path.stem: path for folder in reversed(folders) for path in (folder / group).glob("*.yaml")}


@cache
def _load(path: Path) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.load(path)
