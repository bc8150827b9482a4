"""Mistyped keys and options of a command: what was meant, from the command's own configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opsnet.commands.arguments import key_and_value, overrides_of
from opsnet.utils.errors import InputError
from opsnet.utils.suggestions import closest, closest_keys, did_you_mean

CLOSED = {"", "data", "optim", "paths", "probes", "tune"}
"""Nodes whose keys are all read by name (``""``: the top), so that a new one would be ignored.

New keys elsewhere are arguments of a class (``+trainer.num_nodes=2``) or parts with any name (``+losses.mine=...``).
"""
OPTIONAL = {"filters", "starts_from"}
"""Keys at the top that a training reads if a yaml has them."""


def check_new_keys(config_name: str, arguments: Sequence[str]) -> None:
    """Refuses ``+key=value`` where nothing reads it.

    Args:
        config_name: a yaml of conf/.
        arguments: those of the command line, in Hydra's grammar.

    Raises:
        InputError: there is such a key; the message states those that may be meant.
    """
    new = [a for a in overrides_of(arguments) if a.startswith("+")]
    if not new or (cfg := _configuration(config_name, arguments)) is None:
        return
    groups, known = _groups(arguments), {*all_keys(cfg), *OPTIONAL}
    for argument in new:
        key = key_and_value(argument)[0]
        path = key.partition("@")[0].partition(":")[0]
        if path in groups or path.partition(".")[0].partition("/")[0] == "hydra":
            continue
        for node in _ancestors(path):
            if node.rpartition(".")[0] in CLOSED and node not in known:
                raise InputError(
                    f"{argument}: {_unknown_key(node, sorted(known))} ({_help(config_name)} lists the keys)"
                )


@contextmanager
def suggestions(config_name: str, arguments: Sequence[str]) -> Iterator[None]:
    """Turns Hydra's errors about the command line into one sentence that states what may be meant.

    Args:
        config_name: a yaml of conf/.
        arguments: those of the command line, in Hydra's grammar.

    Raises:
        InputError: a key or an option does not exist, is missing, or cannot be read.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import MissingMandatoryValue

    try:
        yield
    except MissingMandatoryValue as error:
        key = str(error.full_key or str(error).rpartition(": ")[2])
        raise InputError(f"{key} is missing: give {key}=VALUE ({_help(config_name)} says what it is)") from error
    except HydraException as error:
        message = _explained(error, config_name, arguments)
        if message is None:
            raise
        raise InputError(message) from error


def _explained(error: Exception, config_name: str, arguments: Sequence[str]) -> str | None:
    """A sentence for one of Hydra's errors; ``None`` if its own is good enough."""
    from hydra.errors import InstantiationException, MissingConfigException, OverrideParseException

    if isinstance(error, OverrideParseException):
        return _unreadable(error.override)
    if isinstance(error, MissingConfigException):
        return _unknown_option(error, config_name, arguments)
    if isinstance(error, InstantiationException):
        return _unknown_argument(str(error), arguments)
    if match := re.match(r"Ambiguous value for argument '(.*)'\s*$", str(error).partition("\n")[0]):
        return _ambiguous(match[1], config_name, arguments)
    if match := re.search(r"Could not (?:override|delete) '([^']+)'", str(error).partition("\n")[0]):
        cfg = _configuration(config_name, arguments)
        return None if cfg is None else f"{_unknown_key(match[1], all_keys(cfg))} ({_help(config_name)} lists the keys)"
    return None


def _unknown_key(key: str, known: Sequence[str]) -> str:
    return f"there is no key '{key}'{did_you_mean(closest_keys(key, known))}"


def _ambiguous(argument: str, config_name: str, arguments: Sequence[str]) -> str:
    """For a value with commas, of which Hydra says only that it may be a list, a text or a sweep."""
    key, value = key_and_value(argument)
    cfg = _configuration(config_name, arguments)
    if cfg is not None and key not in (known := all_keys(cfg)) and not argument.startswith("+"):
        return f"{_unknown_key(key, known)} ({_help(config_name)} lists the keys)"
    return (
        f"{key} is one value, not {value}: give {key}=[{value}] for a list, \"{key}='{value}'\" for a text, or -m for "
        "a run with each"
    )


def _unknown_option(error: Any, config_name: str, arguments: Sequence[str]) -> str | None:
    missing = str(error.missing_cfg_file)
    typed = {f"{key}/{value}": (key, value) for key, value in map(key_and_value, overrides_of(arguments))}
    group, name = typed.get(missing) or missing.rpartition("/")[::2]  # a value may be a path
    if not group or not error.options:
        return None
    if group == "clip" and name.endswith(".json") and "clip_model" in all_keys(_configuration(config_name, []) or {}):
        return f"clip={name}: the file of a CLIP is given as clip_model={name}; clip is for {', '.join(error.options)}"
    return (
        f"there is no {group}={name}{did_you_mean(closest(name, error.options))}; there is {', '.join(error.options)}"
    )


def _unknown_argument(text: str, arguments: Sequence[str]) -> str | None:
    """For ``+trainer.nonsense=3``, which only the class can refuse; other errors in classes are no user errors."""
    match = re.search(r"unexpected keyword argument '(\w+)'", text)
    for argument in overrides_of(arguments):
        key = key_and_value(argument)[0]
        if match and argument.startswith("+") and key.rpartition(".")[2] == match[1]:
            return f"{argument}: the class of {key.rpartition('.')[0]} has no argument '{match[1]}': leave it out"
    return None


def _unreadable(argument: str) -> str:
    key, value = key_and_value(argument)
    if not key or "=" not in argument:
        return f"'{argument}' is not key=value: see --help"
    quoted = value.replace("'", "\\'")
    return f"the value of {key} cannot be read: {value}: quote it for Hydra too: \"{key}='{quoted}'\""


def _help(config_name: str) -> str:
    return f"opsnet-{config_name.replace('_', '-')} --help"


def _configuration(config_name: str, arguments: Sequence[str]) -> Any:
    """The configuration with the chosen groups but without other overrides; ``None`` if it cannot be composed."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException

    from opsnet.utils.configuration import config_dir

    groups, chosen = _groups(arguments), []
    for argument in overrides_of(arguments):
        key, value = key_and_value(argument)
        if key in groups and not argument.startswith("~") and re.fullmatch(r"[\w,.-]+", value):
            chosen.append(f"{argument.partition('=')[0]}={value.partition(',')[0]}")  # the first of a sweep
    more = [f"hydra.searchpath=['file://{folder}']" for folder in _folders(arguments)]
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return compose(config_name, chosen + more)
    except HydraException:
        return None


def _groups(arguments: Sequence[str]) -> set[str]:
    """The groups of options: folders of the configuration."""
    from opsnet.utils.configuration import config_dir

    folders = [config_dir(), *_folders(arguments)]
    return {path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()}


def _folders(arguments: Sequence[str]) -> list[Path]:
    """Folders of ``--config-dir``."""
    pairs = zip(arguments, [*arguments[1:], ""])
    after = [value for flag, value in pairs if flag in ("--config-dir", "-cd")]
    return [Path(v).absolute() for v in (*after, *(a[13:] for a in arguments if a.startswith("--config-dir=")))]


def _ancestors(path: str) -> list[str]:
    """``a.b.c`` -> ``[a, a.b, a.b.c]``."""
    parts = path.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def all_keys(cfg: Any) -> list[str]:
    """All keys of a configuration, those of nodes too, without resolving anything."""
    from omegaconf import OmegaConf

    def walk(node: Any, prefix: str) -> Iterator[str]:
        for key, value in node.items() if isinstance(node, dict) else ():
            if not str(key).startswith("_"):
                yield f"{prefix}{key}"
                yield from walk(value, f"{prefix}{key}.")

    return list(walk(OmegaConf.to_container(cfg, resolve=False), ""))
