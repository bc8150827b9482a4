"""Loads a published Mask2Former into this project's networks, completely or not at all."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from opsnet.segmenter.published.layouts import CLASS_HEAD, CLIP, Converted, convert
from opsnet.segmenter.published.weight_files import WeightsError, read_weights
from opsnet.segmenter.query_decoder import QueryDecoder

log = logging.getLogger(__name__)
# Parts that OPSNet adds to Mask2Former and that must be trained; and a counter that does not affect predictions.
UNTRAINED = (
    "query_decoder.embed_head.",
    "query_decoder.iou_head.",
    "query_decoder.clip_attention.",
    "no_object_embed",
    "log_logit_scale",
    "clip.",
)
_COUNT = "num_batches_tracked"
GROUPS = "choose the backbone=... and model.query_decoder... that they were trained with, or download the file again"


@dataclass(frozen=True)
class Loaded:
    """The outcome of loading published weights.

    Attributes:
        loaded: names in this project that were loaded.
        unused: names in the file that are not needed.
        missing: names in this project, except CLIP's, that published weights do not have; they are unchanged.
    """

    loaded: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{len(self.loaded)} tensors loaded; not used: {_groups(self.unused)}; "
            f"not in the file and untrained: {_groups(self.missing)}"
        )


def load_published(model: nn.Module, path: Path | str, *, class_head: bool = False) -> Loaded:
    """Loads the weights of ``backbone``, ``pixel_decoder`` and ``query_decoder`` of a published Mask2Former.

    Args:
        model: an ``OPSNet``, or any module with these three parts.
        class_head: also load the class head, for its no-object score, see :meth:`QueryDecoder.add_class_head`.
        path: anything that :func:`opsnet.segmenter.published.weight_files.read_weights` reads, in the layout of
            transformers, detectron2 or ``scripts/published/convert_mask2former.py``.

    Raises:
        WeightsError: the weights are unreadable, of another kind, incomplete or of another size; nothing is loaded.
    """
    converted = convert_file(path)
    heads = [name for name in converted.state if name.startswith(CLASS_HEAD)]
    if class_head and not heads:
        raise WeightsError(
            f"weights {path} hold no class head, whose no-object score is needed: give the original weights"
        )
    if not class_head:
        return load_converted(model, converted, path)
    decoder = model.get_submodule("query_decoder")
    assert isinstance(decoder, QueryDecoder)
    decoder.add_class_head(len(converted.state[CLASS_HEAD + "bias"]) - 1)
    try:
        return load_converted(model, converted, path)
    except WeightsError:
        decoder.class_head = None
        raise


def convert_file(path: Path | str) -> Converted:
    """The weights of a file or folder under this project's names.

    Raises:
        WeightsError: they are unreadable or have no decoder of Mask2Former.
    """
    try:
        return convert(read_weights(path))
    except WeightsError as error:
        raise WeightsError(str(error) if str(path) in str(error) else f"weights {path}: {error}") from error


def load_converted(
    model: nn.Module, converted: Converted, path: Path | str, *, untrained: tuple[str, ...] = UNTRAINED,
    fix: str = GROUPS,
) -> Loaded:  # fmt: skip
    """Loads converted weights except CLIP's, completely or not at all.

    Args:
        model: a module with the parts of ``OPSNet``.
        converted: the weights.
        path: their file, for messages.
        untrained: prefixes of weights that may be missing.
        fix: what to do if they do not fit, for the message.

    Raises:
        WeightsError: the weights are incomplete, of another network or of another size; nothing is loaded.
    """
    own = model.state_dict()
    state = {name: tensor for name, tensor in converted.state.items() if not name.startswith(CLIP)}
    unused = [*converted.unused, *(n for n in state if n.startswith(CLASS_HEAD) and n not in own)]
    state = {name: tensor for name, tensor in state.items() if name not in unused}
    foreign = [*converted.unknown, *(name for name in state if name not in own)]
    absent = [n for n in own if n not in state and not n.endswith(_COUNT) and not n.startswith(CLIP)]
    lacking = [name for name in absent if not name.startswith(untrained)]
    if foreign or lacking:
        example = f"'{foreign[0]}' is unexpected" if foreign else f"'{lacking[0]}' is missing"
        raise WeightsError(
            f"weights {path} are of another network: {len(foreign)} tensors do not belong to this model and "
            f"{len(lacking)} tensors are missing (e.g. {example}): {fix}"
        )
    sizes = [(name, tensor.shape, own[name].shape) for name, tensor in state.items()]
    wrong = [size for size in sizes if size[1] != size[2]]
    if wrong:
        name, theirs, ours = wrong[0]
        raise WeightsError(
            f"weights {path} have another size: {len(wrong)} of {len(sizes)} tensors differ, e.g. '{name}' is "
            f"{tuple(theirs)} in the file and {tuple(ours)} in the model: {fix}"
        )
    model.load_state_dict(state, strict=False)
    found = Loaded(tuple(state), tuple(unused), tuple(absent))
    log.info("weights %s: %s", path, found)
    return found


def _groups(names: Iterable[str]) -> str:
    """Summarizes names as parts of the model with their number of tensors."""
    counts: dict[str, int] = {}
    for name in names:
        parts = name.removeprefix("model.").split(".")
        group = ".".join(parts[: 2 if parts[0] == "query_decoder" else 1])
        counts[group] = counts.get(group, 0) + 1
    return ", ".join(f"{group} ({count})" for group, count in counts.items()) or "nothing"
