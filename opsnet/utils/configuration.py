"""The location of the Hydra configuration, and quoting of command-line arguments for Hydra's grammar."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from opsnet.utils.errors import InputError

_OPTION = r"(?:beta|threshold|overlap|compete|drop_no_object)="
_SETTING = re.compile(rf"""(?<![^\[,\s])(?!{_OPTION})[^,\[\]'"\s]+(?:,\s*{_OPTION}[^,\[\]'"\s]+)+""")
_SETTINGS = ("settings", "panel_setting", "detail_setting")


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


def quoted(argument: str, *keys: str) -> str:
    """Quotes a path or comma-separated list for Hydra's grammar, which reads ``vocabulary=a, b`` as a sweep.

    Args:
        argument: a command-line argument.
        keys: keys whose values are strings.
    """
    key, _, value = argument.partition("=")
    if key not in keys or value[:1] in ("'", '"', "["):
        return argument
    return f"{key}='{value}'" if "'" not in value else f'{key}="{value}"'


def quoted_settings(argument: str) -> str:
    """Quotes ``settings=[alpha=8,beta=0.5/cls,full/cls,threshold=0.1]`` for Hydra's grammar.

    Hydra would interpret the commas and equals signs inside a setting's name.

    Args:
        argument: a command-line argument; arguments with other keys are returned unchanged.
    """
    key, _, value = argument.partition("=")
    return f"{key}=" + _SETTING.sub(r"'\g<0>'", value) if key in _SETTINGS else argument
