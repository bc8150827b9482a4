"""Where the Hydra configuration lies, and words of a command line that its grammar would read otherwise."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

_OPTION = r"(?:beta|threshold|overlap|compete|drop_no_object)="
_SETTING = re.compile(rf"""(?<![^\[,\s])(?!{_OPTION})[^,\[\]'"\s]+(?:,\s*{_OPTION}[^,\[\]'"\s]+)+""")
_SETTINGS = ("settings", "panel_setting", "detail_setting")


class ConfigurationError(FileNotFoundError):
    """No configuration folder was found; the message names the places and the fix."""


def config_dir() -> Path:
    """The absolute path of the configuration: ``conf/`` of the source checkout, else the installed ``opsnet/conf``.

    Raises:
        ConfigurationError: neither exists.
    """
    return _find(Path(__file__).resolve().parents[1])


def _find(package: Path) -> Path:
    """The configuration of the package whose sources lie in ``package``."""
    checkout, installed = package.parent / "conf", package / "conf"
    # A folder conf/ beside an installed package may be anyone's; only a checkout has pyproject.toml there.
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
    """Names of the yamls of a group, such as ``modulation``."""
    return tuple(sorted(path.stem for path in (config_dir() / group).glob("*.yaml")))


@cache
def option(group: str, name: str) -> Any:
    """The content of a yaml of a group.

    Args:
        group: a folder of the configuration.
        name: of :func:`options`; nothing else is read, whatever path it would make.

    Raises:
        KeyError: the group has no such option.
    """
    from omegaconf import OmegaConf

    if name not in options(group):
        raise KeyError(name)
    return OmegaConf.load(config_dir() / group / f"{name}.yaml")


def quoted(argument: str, *keys: str) -> str:
    """A path or a comma list as Hydra's grammar wants it, which takes ``vocabulary=a, b`` for a sweep of two runs.

    Args:
        argument: one of the command line.
        keys: whose values are texts.
    """
    key, _, value = argument.partition("=")
    if key not in keys or value[:1] in ("'", '"', "["):
        return argument
    return f"{key}='{value}'" if "'" not in value else f'{key}="{value}"'


def quoted_settings(argument: str) -> str:
    """``settings=[alpha=8,beta=0.5/cls,full/cls,threshold=0.1]`` as Hydra's grammar wants it.

    The grammar takes the commas and equals signs inside a setting's name for its own.

    Args:
        argument: one of the command line; those of other keys are returned as they are.
    """
    key, _, value = argument.partition("=")
    return f"{key}=" + _SETTING.sub(r"'\g<0>'", value) if key in _SETTINGS else argument
