"""Reads a command line: ``key=value`` and ``--key value``, with paths and class names exactly as they are typed.

Hydra's grammar gives a meaning to commas, equals signs, brackets, spaces and quotes. Paths and vocabularies
(:data:`TEXTS`) are quoted for it here, so that a user has to escape nothing; values of other keys stay Hydra's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from opsnet.utils.errors import InputError
from opsnet.utils.suggestions import closest, did_you_mean

TEXTS = {
    "checkpoint", "image", "masks", "ids_from", "examples", "vocabulary", "train_vocabulary", "train", "output",
    "init_from", "resume", "clip_model", "clip_weights", "recognizer_from", "proposals", "captions",
    "experiment_name", "paths.data", "paths.runs", "paths.cache", "hydra.run.dir", "hydra.sweep.dir",
}  # fmt: skip
"""Keys whose values are texts."""
NESTED_TEXTS = {"weights", "root", "images", "annotations", "labels", "vocabulary"}
"""Last parts of nested keys whose values are texts, such as ``model.weights`` and ``data.root``."""
SETTINGS = {"settings", "panel_setting", "detail_setting"}
"""Keys with names of inference settings."""

_FLAGS = {"--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m", "--shell-completion", "-sc"}
_VALUED = {
    "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd",
    "--experimental-rerun", "--info", "-i",
}  # fmt: skip
_SHOWN = {"--cfg", "-c", "--info", "-i", "--hydra-help", "--version", "--shell-completion", "-sc"}
_SWEEP = {"-m", "--multirun", "hydra.mode=MULTIRUN"}
_KEY = re.compile(r"[+~]*[A-Za-z_][\w.@/-]*")
_PLAIN = re.compile(r"[\w./-]*[A-Za-z_/][\w./-]*", re.ASCII)
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_STRENGTHS = re.compile(r"modulation=(?=alpha=|beta=)((?:alpha|beta)=[^,]+(?:,\s*(?:alpha|beta)=[^,]+)?)")
_OPTION = r"(?:beta|threshold|overlap|compete|drop_no_object)="
_SETTING = re.compile(rf"""(?<![^\[,\s])(?!{_OPTION})[^,\[\]'"\s]+(?:,\s*{_OPTION}[^,\[\]'"\s]+)+""")


def read_arguments(
    given: Sequence[str], *, switches: Collection[str] = (), keys: Sequence[str] = ("checkpoint", "image")
) -> list[str]:
    """A command line in Hydra's grammar.

    Reading the result again returns it unchanged: the processes of a sweep and of DDP are started with it.

    Args:
        given: the arguments as typed.
        switches: keys that are true or false, of which ``--key`` alone means true.
        keys: the command's keys, the most important ones first, for messages.

    Raises:
        InputError: an argument is not ``key=value``; the message says what may be meant.
    """
    overrides = _overrides(list(given), switches, [*keys[:1], *filter(is_text, keys[1:])])
    is_sweep = not _SWEEP.isdisjoint(overrides)
    return [part for argument in overrides for part in _in_hydras_grammar(argument, is_sweep=is_sweep)]


def read_options(given: Sequence[str], keys: Sequence[str], switches: Collection[str] = ()) -> dict[str, Any]:
    """A command line of a command without configuration, by key.

    Args:
        given: the arguments as typed: ``key=value``, ``--key value``, or ``--switch``.
        keys: all keys, the most important ones first.
        switches: those that are true or false.

    Raises:
        InputError: a key is unknown, or a switch is neither true nor false.
    """
    found: dict[str, Any] = {}
    for override in _overrides(list(given), switches, keys):
        key, value = key_and_value(override)
        if key not in keys:
            raise InputError(f"there is no key '{key}'{did_you_mean(closest(key, keys))} (--help lists the keys)")
        if key in switches and value.lower() not in ("true", "false"):
            raise InputError(f"{key} must be true or false, got '{value}'")
        found[key] = value.lower() == "true" if key in switches else value
    return found


def asks_for_help(given: Sequence[str]) -> bool:
    """Whether the command line asks for the command's help."""
    return not {"--help", "-h"}.isdisjoint(given)


def is_bare(arguments: Sequence[str]) -> bool:
    """Whether a command line says nothing but how to run; not if Hydra only shows the configuration."""
    return _SHOWN.isdisjoint(arguments) and not [a for a in overrides_of(arguments) if not a.startswith("hydra")]


def overrides_of(arguments: Sequence[str]) -> list[str]:
    """The arguments without Hydra's flags and their values."""
    left, found = list(arguments), []
    while left:
        argument = left.pop(0)
        if _takes_next(argument, left):
            left.pop(0)
        elif not argument.startswith("-"):
            found.append(argument)
    return found


def key_and_value(argument: str) -> tuple[str, str]:
    """``+a.b=3`` -> (``a.b``, ``3``)."""
    key, _, value = argument.partition("=")
    return key.lstrip("+~"), value


def _overrides(left: list[str], switches: Collection[str], keys: Sequence[str]) -> list[str]:
    """``--key value`` and ``--key=value`` as ``key=value``; Hydra's own flags stay."""
    found: list[str] = []
    while left:
        argument = left.pop(0)
        name = argument.partition("=")[0]
        if argument in _FLAGS or name in _VALUED:
            found.append(argument)
            if _takes_next(argument, left):
                found.append(left.pop(0))
        elif argument.startswith("--"):
            key = name[2:].replace("-", "_")
            found.append(f"{key}={argument.partition('=')[2] if '=' in argument else _value(key, left, switches)}")
        elif _is_override(argument) or re.fullmatch(r"~[\w.@/]+", argument):
            found.append(argument)
        else:
            raise InputError(_not_an_override(argument, found, keys))
    return found


def _value(key: str, left: list[str], switches: Collection[str]) -> str:
    """The argument that follows ``--key``; "true" for a switch without one."""
    if key in switches and (not left or left[0].lower() not in ("true", "false")):
        return "true"
    if not left or left[0].startswith("--") or left[0] in _FLAGS:
        raise InputError(f"--{key} needs a value: give --{key} VALUE or {key}=VALUE")
    return left.pop(0)


def _takes_next(flag: str, left: Sequence[str]) -> bool:
    """Whether the next argument is the value of one of Hydra's flags; that of ``--info`` may be left out."""
    return flag in _VALUED and bool(left) and not (flag in ("--info", "-i") and _is_override(left[0]))


def _is_override(argument: str) -> bool:
    key, equals, _ = argument.partition("=")
    return bool(equals) and _KEY.fullmatch(key) is not None


def _not_an_override(argument: str, before: Sequence[str], keys: Sequence[str]) -> str:
    key, value = key_and_value(before[-1]) if before else ("", "")
    if argument.startswith("-"):
        return f"there is no option {argument}: give key=value or --key value, and -m for a sweep"
    if is_text(key):
        return f"'{argument}' is not key=value; a value with spaces needs quotes: {key}=\"{value} {argument}\""
    given = {key_and_value(override)[0] for override in before}
    free = [f'{key}="{argument}"' for key in keys if key not in given and re.fullmatch(r"\w+", key)]
    return f"'{argument}' is not key=value: give for example {' or '.join(free[:2])}"


def is_text(key: str) -> bool:
    """Whether the values of a key are paths or class names."""
    return key in TEXTS or ("." in key and key.rpartition(".")[2] in NESTED_TEXTS)


def _in_hydras_grammar(argument: str, *, is_sweep: bool) -> list[str]:
    if strengths := _STRENGTHS.fullmatch(argument):  # a name of a recognizer, as in settings
        return ["modulation=full", *(f"modulation.{part.strip()}" for part in strengths[1].split(","))]
    key, equals, value = argument.partition("=")
    name = key.lstrip("+~")
    if name in SETTINGS:
        return [f"{key}={_quoted_settings(value)}"]
    if not equals or not is_text(name):
        return [argument]
    values = _split(value) if is_sweep else [value]
    return [f"{key}={','.join(as_typed(name, text, is_sweep=is_sweep) for text in values)}"]


def as_typed(key: str, text: str, *, is_sweep: bool = False) -> str:
    """A text for Hydra's grammar, quoted if Hydra would otherwise read something else.

    What already is Hydra's stays: a quoted text, null, a list of class names, the configuration of a group of keys,
    and in a sweep ``choice(...)``. Of Hydra's escapes ``\\=`` and ``\\,`` are read, others may be parts of a path.
    """
    if text in ("null", "???") or _QUOTED.fullmatch(text):
        return text
    if text[:1] + text[-1:] == "[]" and _is_names(key) and _is_list(f"{key}={text}"):
        return text
    if "." in key and text[:1] + text[-1:] == "{}":
        return text
    if is_sweep and re.fullmatch(r"\w+\(.*\)", text):
        return text
    if key not in TEXTS and _is_hydras_value(text):  # such as data.module.prepare.labels=80
        return text
    text = re.sub(r"\\([=,])", r"\1", text)
    if _PLAIN.fullmatch(text) and not _is_hydras_value(text):
        return text
    # A backslash counts only in front of a quote and at the end, where it must be doubled.
    return "'" + re.sub(r"(\\*)('|\Z)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), text) + "'"


def _is_names(key: str) -> bool:
    return key == "train" or key.rpartition(".")[2] in ("vocabulary", "train_vocabulary")


def _is_list(override: str) -> bool:
    """Whether Hydra reads a list."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return isinstance(OverridesParser.create().parse_override(override).value(), list)
    except HydraException:
        return False


def _is_hydras_value(text: str) -> bool:
    """Whether Hydra reads a number, true, false or null."""
    if text.lower() in ("true", "false", "null"):
        return True
    try:
        float(text.replace("_", ""))
    except ValueError:
        return False
    return True


def _split(text: str) -> list[str]:
    """Splits at the commas outside of quotes and brackets."""
    parts = re.findall(r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\\,|\[[^\]]*\]|\([^)]*\)|[^,])+""", text)
    return [part.strip() for part in parts]


def _quoted_settings(value: str) -> str:
    """``[alpha=8,beta=0.5/cls,full/cls,threshold=0.1]`` with quotes around names that have commas."""
    return _SETTING.sub(r"'\g<0>'", value)
