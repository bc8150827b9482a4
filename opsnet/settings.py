"""Inference settings: named ways to turn one pass of the network into a panoptic map (Tables 4 to 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from hydra.utils import instantiate
from omegaconf import OmegaConf

from opsnet.configuration import config_dir
from opsnet.errors import InputError
from opsnet.model import Modulation
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.recognition.modulation import EmbeddingModulation

CROPS = ("masking", "cropping")


@dataclass(frozen=True)
class Setting:
    """One way of inference.

    Attributes:
        name: ``<recognition>/<filter>``.
        recognition, filter: the two halves of the name.
        modulation: embeddings -> logits.
        filtering: logits and IoU -> scores.
        clip_embeds: where CLIP's embeddings come from: "pooling", "masking" or "cropping".
    """

    name: str
    recognition: str
    filter: str
    modulation: Modulation
    filtering: MaskFiltering
    clip_embeds: str


def parse_setting(name: str) -> Setting:
    """Builds a setting from its name.

    ``full/cls_iou``: a yaml of conf/modulation, then one of conf/filtering.
    ``alpha=5,beta=0.25/cls_iou``: any strength of the modulation.
    ``cropping/cls_iou``: CLIP alone, on pictures of each proposal.

    Raises:
        InputError: an unknown name.
    """
    recognition, _, kind = name.partition("/")
    filtering = _from_yaml("filtering", kind, name)
    source = recognition if recognition in CROPS else "pooling"
    modulation = parse_modulation("clip_only" if recognition in CROPS else recognition, setting=name)
    return Setting(name, recognition, kind, modulation, filtering, source)


def parse_modulation(text: str, *, setting: str | None = None) -> Modulation:
    """``full``, a yaml of conf/modulation, or any strength, ``alpha=5,beta=0.25``.

    Args:
        text: the name.
        setting: that it is a part of, for the message.

    Raises:
        InputError: an unknown name.
    """
    if text.startswith("alpha="):
        return _grid_cell(text)
    return _from_yaml("modulation", text, setting or text)  # type: ignore[no-any-return]


def parse_filtering(text: str) -> MaskFiltering:
    """``cls_iou``, a yaml of conf/filtering.

    Raises:
        InputError: an unknown name.
    """
    return _from_yaml("filtering", text, text)  # type: ignore[no-any-return]


def _grid_cell(text: str) -> EmbeddingModulation:
    try:
        values = {key: float(value) for key, value in (part.split("=") for part in text.split(","))}
        return EmbeddingModulation(**values)
    except (ValueError, TypeError) as error:
        raise InputError(f"setting '{text}' must look like alpha=5,beta=0.25 ({error})") from error


@cache
def _from_yaml(group: str, option: str, name: str):  # type: ignore[no-untyped-def]
    path = config_dir() / group / f"{option}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in (config_dir() / group).glob("*.yaml")))
        extra = f", {', '.join(CROPS)}, alpha=A,beta=B" if group == "modulation" else ""
        raise InputError(
            f"setting '{name}': no {group} '{option}'; a setting is <recognition>/<filter>, "
            f"with {group} one of {known}{extra}"
        )
    return instantiate(OmegaConf.load(path))


def paper_settings(
    alphas: Sequence[float] = (0, 2.5, 5, 10, 15, 20), betas: Sequence[float] = (0, 0.25, 0.5, 0.75, 1, 1.5)
) -> list[str]:
    """Names of every setting of Tables 1 and 4 to 7; the grid over ``alphas`` and ``betas`` is Table 6."""
    names = [f"{r}/{f}" for r in ("query_only", "clip_only", "ensemble_1", "full") for f in ("cls", "iou", "cls_iou")]
    names += [f"{r}/cls_iou" for r in ("ensemble_2", "ensemble_3", "ensemble_4", "fusion_only", *CROPS)]
    names += [f"alpha={a:g},beta={b:g}/cls_iou" for a in alphas for b in betas]
    return names
