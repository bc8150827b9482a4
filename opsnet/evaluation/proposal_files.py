"""Reads and writes one batch of network outputs, or a domain's names, as safetensors with a checksum, atomically."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from opsnet.checkpoint.reading import RECOGNIZER, recognizer_weights
from opsnet.evaluation.mask_bytes import pack, unpack
from opsnet.inference.names import DomainNames
from opsnet.inference.network_output import NetworkOutput
from opsnet.recognition.recognizer import prepare
from opsnet.structures import LOGIT_SCALE, Proposals, TextBank
from opsnet.utils.errors import InputError
from opsnet.utils.files import atomic_path


class ProposalsError(InputError):
    """Stored proposals that cannot be used; the message names the file or folder and the fix."""


def write_outputs(path: Path, outputs: NetworkOutput, masks: str) -> None:
    """Writes a batch; ``masks`` is one of the kinds of :mod:`opsnet.evaluation.mask_bytes`."""
    planes, about = pack(outputs.proposals.mask_logits, masks)
    tensors = {
        "query_embeds": outputs.proposals.query_embeds,
        "iou": outputs.proposals.iou,
        **{f"clip.{source}": embeds for source, embeds in outputs.clip.items()},
        **{f"masks.{i}": plane for i, plane in enumerate(planes)},
    }
    more = {
        "masks": about, "padded": outputs.padded, "valid_sizes": outputs.valid_sizes, "map_sizes": outputs.map_sizes,
        "image_ids": outputs.image_ids, "scales": outputs.scales,
    }  # fmt: skip
    _write(path, tensors, more)


def read_outputs(path: Path) -> NetworkOutput:
    """Reads a batch.

    Raises:
        ProposalsError: the file is damaged.
    """
    tensors, more = _read(path)
    try:
        planes = [tensors[f"masks.{i}"] for i in range(len(more["masks"]["deflated"]))]
        proposals = Proposals(unpack(planes, more["masks"]), tensors["query_embeds"], tensors["iou"])
        clip = {key.removeprefix("clip."): value for key, value in tensors.items() if key.startswith("clip.")}
        valid = _sizes(more["valid_sizes"])
        maps = _sizes(more["map_sizes"]) if "map_sizes" in more else valid  # missing in files of earlier versions
        height, width = more["padded"]
        scales = _scales(more.get("scales", (LOGIT_SCALE, LOGIT_SCALE)))  # missing in files of earlier versions
        return NetworkOutput(proposals, clip, (height, width), valid, maps, tuple(more["image_ids"]), scales)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def _sizes(stored: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((int(height), int(width)) for height, width in stored)


def _scales(stored: Sequence[float]) -> tuple[float, float]:
    query, clip = stored
    return float(query), float(clip)


def write_names(path: Path, domain: DomainNames, recognizer: Mapping[str, Tensor] | None = None) -> None:
    """Writes the names of a domain, and the weights of the recognizer that was trained with the network."""
    tensors, more = {"void": domain.no_object_embed}, {"overlap": domain.overlap, "seen": domain.seen}
    tensors |= {f"{RECOGNIZER}{key}": weight for key, weight in (recognizer or {}).items()}
    for side, bank in (("target", domain.names.target), ("train", domain.names.train)):
        tensors |= {f"{side}.embeds": bank.embeds, f"{side}.is_thing": bank.is_thing}
        if bank.concept is not None:
            tensors[f"{side}.concept"] = bank.concept
        more[side] = {"name": bank.name, "names": bank.names}
    _write(path, tensors, more)


def read_names(path: Path) -> DomainNames:
    """Reads the names of a domain.

    Raises:
        ProposalsError: the file is damaged.
    """
    tensors, more = _read(path)
    try:
        target, train = (
            TextBank(
                more[side]["name"], tuple(more[side]["names"]), tensors[f"{side}.is_thing"], tensors[f"{side}.embeds"],
                tensors.get(f"{side}.concept"),
            )
            for side in ("target", "train")
        )  # fmt: skip
        seen = tuple(more["seen"])
        return DomainNames(prepare(target, train, seen), seen, tensors["void"], float(more["overlap"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def read_recognizer(path: Path) -> dict[str, Tensor]:
    """The weights of the recognizer, by their names in it; empty if it has none, and in earlier files.

    Raises:
        ProposalsError: the file is damaged.
    """
    return recognizer_weights(_read(path)[0])


def _write(path: Path, tensors: Mapping[str, Tensor], more: Mapping[str, Any]) -> None:
    own = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    metadata = {"about": json.dumps(more), "crc": str(_checksum(own))}
    with atomic_path(path) as temporary:
        save_file(own, temporary, metadata=metadata)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        about = json.loads(metadata["about"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise _damaged(path, error) from error
    if str(_checksum(tensors)) != metadata.get("crc"):
        raise _damaged(path, "its checksum differs")
    return tensors, about


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    """CRC-32 of the names and bytes of all tensors."""
    crc = 0
    for key in sorted(tensors):
        crc = zlib.crc32(tensors[key].flatten().view(torch.uint8).numpy().data, zlib.crc32(key.encode(), crc))
    return crc


def _damaged(path: Path, reason: object) -> ProposalsError:
    return ProposalsError(
        f"{path} is truncated or not a file of proposals ({reason}): delete it, and save the proposals again"
    )
