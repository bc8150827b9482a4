"""What the configuration of a CLIP without a public name may contain (an ``open_clip_config.json``'s ``model_cfg``).

Such a configuration comes with the weights and is not trusted. open_clip downloads what some of its keys name,
and builds networks of any size: so only keys of plain sizes are known, each with a limit of several times the
largest CLIP's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Accepts = Callable[[Any], bool]


@dataclass(frozen=True)
class Problem:
    """What is wrong with a configuration.

    Attributes:
        key: path of the value.
        value: it.
        reason: what it must be.
    """

    key: tuple[str, ...]
    value: Any
    reason: str


def first_problem(config: Any) -> Problem | None:
    """The first problem of a configuration; ``None`` if a CLIP can be built from it without download or huge memory."""
    return next(_problems(config), None)


def _problems(config: Any) -> Iterator[Problem]:
    parts: tuple[tuple[tuple[str, ...], Any, Mapping[str, tuple[Accepts, str]]], ...] = (((), config, _CLIP),)
    if isinstance(config, Mapping):
        parts += (("vision_cfg",), config.get("vision_cfg"), _VISION), (("text_cfg",), config.get("text_cfg"), _TEXT)
    for key, part, known in parts:
        if not isinstance(part, Mapping):
            yield Problem(key, part, "a CLIP needs it, as a mapping")
            continue
        for name, value in part.items():
            accepts, reason = known.get(name, (lambda _: False, f"it must be one of {', '.join(known)}"))
            if not accepts(value):
                yield Problem((*key, str(name)), value, reason)


def _count(limit: int) -> tuple[Accepts, str]:
    return lambda value: type(value) is int and 0 < value <= limit, f"it must be a number of 1 to {limit}"


def _or_null(rule: tuple[Accepts, str]) -> tuple[Accepts, str]:
    return lambda value: value is None or rule[0](value), f"{rule[1]}, or null"


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[\w.]*", value) is not None


def _is_stages(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 4 and all(_count(64)[0](blocks) for blocks in value)


_SHARE = _or_null((_is_share, "it must be a number of 0 to 1"))
_SWITCH = (lambda value: isinstance(value, bool), "it must be true or false")
_WORD = (_is_word, "it must be a word, not a path, URL or Hub id")
_MAPPING = (lambda value: True, "")  # looked at as a part
_CLIP: Mapping[str, tuple[Accepts, str]] = {
    "embed_dim": _count(4096), "quick_gelu": _SWITCH, "vision_cfg": _MAPPING, "text_cfg": _MAPPING,
}  # fmt: skip
_VISION: Mapping[str, tuple[Accepts, str]] = {
    "layers": (_is_stages, "it must be four numbers of 1 to 64: dense features need a ResNet or ConvNeXt"),
    "width": _count(256),
    "head_width": _count(256),
    "image_size": _count(1024),
    "patch_size": _or_null(_count(64)),
    "timm_model_name": _WORD,
    "timm_model_pretrained": (lambda value: value is False, "it must be false: the weights are in the file"),
    "timm_pool": _WORD,
    "timm_proj": _WORD,
    "timm_drop": _SHARE,
    "timm_drop_path": _SHARE,
}
_TEXT: Mapping[str, tuple[Accepts, str]] = {
    "context_length": _count(512),
    "vocab_size": _count(500_000),
    "width": _count(2048),
    "heads": _count(64),
    "layers": _count(64),
}
