"""The location of the Hydra configuration, and quoting of command-line arguments for Hydra's grammar."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

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


@cache
def options(group: str) -> tuple[str, ...]:
    """Names of the options of a group such as ``modulation``."""
    return tuple(sorted(path.stem for path in (config_dir() / group).glob("*.yaml")))


@cache
def option(group: str, name: str) -> Any:
    """The content of an option's yaml.

    Args:
        group: a folder of the configuration.
        name: one of :func:`options`; other names are refused, so no other path can be read.

    Raises:
        KeyError: the group has no such option.
    """
    from omegaconf import OmegaConf

    if name not in options(group):
        raise KeyError(name)
    return OmegaConf.load(config_dir() / group / f"{name}.yaml")


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
