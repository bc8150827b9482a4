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
from opsnet.evaluation.mask_bytes import MAX_MASK_BYTES, pack, unpack
from opsnet.inference.names import DomainNames
from opsnet.inference.network_output import NetworkOutput
from opsnet.recognition.recognizer import prepare
from opsnet.structures import LOGIT_SCALE, Proposals, TextBank
from opsnet.utils.errors import InputError
from opsnet.utils.files import atomic_path

MAX_SIDE = 2**16
"""Longest edge of an image in pixels."""
FLOATS = (torch.float32, torch.bfloat16, torch.float16)
"""What a network computes in."""


class ProposalsError(InputError):
    """Stored proposals that cannot be used; the message names the file or folder and the fix."""


def write_outputs(path: Path, outputs: NetworkOutput, masks: str, tie: str | None = None) -> None:
    """Writes a batch.

    Args:
        path: of the file.
        outputs: of the network.
        masks: one of the kinds of :mod:`opsnet.evaluation.mask_bytes`.
        tie: hash of the ``domain.json`` that the file belongs to.

    Raises:
        ProposalsError: the masks are too large to be read again.
    """
    if (size := outputs.proposals.mask_logits.nbytes) > MAX_MASK_BYTES:
        raise ProposalsError(
            f"the masks of a batch are {size / 2**30:.1f} GiB, more than the {MAX_MASK_BYTES / 2**30:.0f} GiB that can "
            "be stored: lower data.module.device_batch_size, or data.longest"
        )
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
    _write(path, tensors, more, tie)


def read_outputs(path: Path, tie: str | None = None) -> NetworkOutput:
    """Reads a batch.

    Args:
        path: of the file.
        tie: hash of the ``domain.json`` that the file must belong to; ``None``: any.

    Raises:
        ProposalsError: the file is damaged, not finite, or belongs to other proposals.
    """
    tensors, more = _read(path, tie)
    try:
        planes = [tensors[f"masks.{i}"] for i in range(len(more["masks"]["deflated"]))]
        proposals = Proposals(unpack(planes, more["masks"]), tensors["query_embeds"], tensors["iou"])
        clip = {key.removeprefix("clip."): value for key, value in tensors.items() if key.startswith("clip.")}
        valid = _sizes(more["valid_sizes"])
        maps = _sizes(more["map_sizes"]) if "map_sizes" in more else valid  # missing in files of earlier versions
        height, width = more["padded"]
        scales = _scales(more.get("scales", (LOGIT_SCALE, LOGIT_SCALE)))  # missing in files of earlier versions
        output = NetworkOutput(proposals, clip, (height, width), valid, maps, tuple(more["image_ids"]), scales)
        return _consistent(output)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError) as error:
        raise _damaged(path, error) from error


def _consistent(output: NetworkOutput) -> NetworkOutput:
    """Returns the output after checking that its parts fit one another and are finite.

    Raises:
        ValueError: they do not, or are not.
    """
    proposals, images = output.proposals, len(output.image_ids)
    if proposals.mask_logits.ndim != 4 or proposals.query_embeds.ndim != 3:
        raise ValueError("masks or embeddings have another number of dimensions")
    expected = (images, proposals.mask_logits.shape[1], proposals.query_embeds.shape[2])
    if any(embeds.shape != expected for embeds in (proposals.query_embeds, *output.clip.values())):
        raise ValueError("embeddings do not fit the masks")
    if proposals.iou.shape != expected[:2] or not images == len(output.valid_sizes) == len(output.map_sizes):
        raise ValueError("there are values for another number of images or masks")
    if not all(0 < side <= MAX_SIDE for size in (output.padded, *output.valid_sizes) for side in size):
        raise ValueError("a size is no size of an image")
    if any(t.dtype not in FLOATS for t in (proposals.query_embeds, proposals.iou, *output.clip.values())):
        raise ValueError("embeddings are no floating-point numbers of 16 or 32 bits")
    if not output.is_finite:
        raise ValueError("it contains NaN or infinity")
    return output


def _sizes(stored: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((int(height), int(width)) for height, width in stored)


def _scales(stored: Sequence[float]) -> tuple[float, float]:
    query, clip = stored
    return float(query), float(clip)


def write_names(
    path: Path, domain: DomainNames, recognizer: Mapping[str, Tensor] | None = None, tie: str | None = None
) -> None:
    """Writes the names of a domain, and the weights of the recognizer that was trained with the network.

    ``tie`` is the hash of the ``domain.json`` that they belong to.
    """
    tensors, more = {"void": domain.no_object_embed}, {"overlap": domain.overlap, "seen": domain.seen}
    tensors |= {f"{RECOGNIZER}{key}": weight for key, weight in (recognizer or {}).items()}
    for side, bank in (("target", domain.names.target), ("train", domain.names.train)):
        tensors |= {f"{side}.embeds": bank.embeds, f"{side}.is_thing": bank.is_thing}
        if bank.concept is not None:
            tensors[f"{side}.concept"] = bank.concept
        more[side] = {"name": bank.name, "names": bank.names}
    _write(path, tensors, more, tie)


def read_names(path: Path, tie: str | None = None) -> DomainNames:
    """Reads the names of a domain; ``tie`` as in :func:`read_outputs`.

    Raises:
        ProposalsError: the file is damaged, not finite, or belongs to other proposals.
    """
    tensors, more = _read(path, tie)
    try:
        target, train = (
            TextBank(
                more[side]["name"], tuple(more[side]["names"]), tensors[f"{side}.is_thing"], tensors[f"{side}.embeds"],
                tensors.get(f"{side}.concept"),
            )
            for side in ("target", "train")
        )  # fmt: skip
        seen = tuple(more["seen"])
        if any(t.dtype != torch.float32 for t in (target.embeds, train.embeds, tensors["void"])):
            raise ValueError("embeddings are no 32-bit floating-point numbers")
        if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise ValueError("it contains NaN or infinity")
        if tensors["void"].shape != target.embeds.shape[1:] or len(seen) != len(target.names):
            raise ValueError("its parts do not fit one another")
        return DomainNames(prepare(target, train, seen), seen, tensors["void"], float(more["overlap"]))
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError, OverflowError) as error:
        raise _damaged(path, error) from error


def read_recognizer(path: Path, tie: str | None = None) -> dict[str, Tensor]:
    """The weights of the recognizer, by their names in it; empty if it has none, and in earlier files.

    Raises:
        ProposalsError: the file is damaged, or belongs to other proposals; see :func:`read_outputs`.
    """
    return recognizer_weights(_read(path, tie)[0])


def _write(path: Path, tensors: Mapping[str, Tensor], more: Mapping[str, Any], tie: str | None = None) -> None:
    own = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    metadata = {"about": json.dumps(more), "crc": str(_checksum(own)), **({} if tie is None else {"domain": tie})}
    with atomic_path(path) as temporary:
        save_file(own, temporary, metadata=metadata)


def _read(path: Path, tie: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        about = json.loads(metadata["about"])
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    if tie is not None and metadata.get("domain") != tie:
        raise ProposalsError(
            f"{path} belongs to other proposals than the domain.json beside it (another checkpoint, data or kind): "
            "delete the folder, and save the proposals again"
        )
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
