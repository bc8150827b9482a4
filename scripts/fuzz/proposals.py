"""Stored proposals of a stranger: domain.json, text.safetensors and a batch."""

from __future__ import annotations

import copy
import json
import zlib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from opsnet.evaluation.store import open_domain, stored_origin
from scripts.fuzz.cases import Case, Untrue
from scripts.fuzz.mutation import change_json, mutated_bytes, mutated_json, several

NAMES = ("proposals",)
PLANES = [zlib.compress(bytes(2 * 3 * 2 * 2), 1) for _ in range(4)]
"""Four byte planes of the mask logits of two images with three proposals."""


@cache
def about() -> dict[str, Any]:
    """A domain.json."""
    categories = [{"id": 1, "name": "cat", "isthing": 1}, {"id": 2, "name": "sky", "isthing": 0}]
    return {
        "format": 1,
        "domain": "coco",
        "masks": "exact",
        "sources": ["pooling"],
        "batches": 1,
        "batch_sizes": [2],
        "experiment": "ops",
        "query_embeddings": True,
        "vocabulary": {"name": "v", "categories": categories},
    }


def batch() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a batch, and what is stored about them."""
    tensors = {"query_embeds": torch.ones(2, 3, 4), "iou": torch.full((2, 3), 0.5), "clip.pooling": torch.ones(2, 3, 4)}
    tensors |= {f"masks.{i}": torch.frombuffer(bytearray(p), dtype=torch.uint8) for i, p in enumerate(PLANES)}
    masks = {"kind": "exact", "shape": [2, 3, 2, 2], "dtype": "float32", "deflated": [True] * 4}
    sizes = [[8, 8], [8, 6]]
    more = {"masks": masks, "padded": [32, 32], "valid_sizes": sizes, "map_sizes": sizes, "image_ids": [1, 2]}
    return tensors, {**more, "scales": [100.0, 100.0]}


def text() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of the names, and what is stored about them."""
    embeds, things = torch.nn.functional.normalize(torch.eye(2, 4), dim=1), torch.tensor([True, False])
    tensors = {"void": torch.ones(4)}
    for side in ("target", "train"):
        tensors |= {f"{side}.embeds": embeds.clone(), f"{side}.is_thing": things.clone()}
    names = {"name": "v", "names": ["cat", "sky"]}
    return tensors, {"overlap": 0.8, "seen": [True, True], "target": names, "train": names}


def stored(tensors: dict[str, Tensor], more: Any) -> bytes:
    """A file as opsnet writes it, with the right checksum."""
    crc = 0
    for key in sorted(tensors):
        crc = zlib.crc32(tensors[key].flatten().view(torch.uint8).numpy().tobytes(), zlib.crc32(key.encode(), crc))
    return save(tensors, {"about": json.dumps(more), "crc": str(crc)})


def case(seed: int) -> Case:
    """A folder of one domain, in which one file is changed: its bytes, or its content with a right checksum."""
    rng = Random(seed)
    files = {"domain.json": json.dumps(about()).encode()}
    files |= {"text.safetensors": stored(*text()), "000000.safetensors": stored(*batch())}
    kind = rng.choice(["json", "json", "bytes", "batch", "batch", "text"])
    if kind == "json":
        files["domain.json"] = mutated_json(rng, about())
    elif kind == "bytes":
        name = rng.choice(sorted(files))
        files[name] = mutated_bytes(rng, files[name])
    else:
        name = "text.safetensors" if kind == "text" else "000000.safetensors"
        files[name] = _changed(rng, *(text() if kind == "text" else batch()))
    return Case({f"proposals/coco/{name}": content for name, content in files.items()})


def _changed(rng: Random, tensors: dict[str, Tensor], more: dict[str, Any]) -> bytes:
    more = copy.deepcopy(more)
    for _ in range(max(1, several(rng))):
        if rng.random() < 0.5:
            more = change_json(rng, more)
        else:
            key = rng.choice(sorted(tensors))
            tensors[key] = rng.choice(_TENSORS)(tensors[key])
    if rng.random() < 0.03:
        tensors["masks.0"] = torch.frombuffer(bytearray(_bomb()), dtype=torch.uint8)
    return stored({key: value.contiguous().clone() for key, value in tensors.items()}, more)


@cache
def _bomb() -> bytes:
    """4 GB of zeros, compressed: the blocks of one MB, which do not refer to others, again and again."""
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x78\x01" + block * 4096 + packer.flush()


_TENSORS = (
    lambda t: t[:1],
    lambda t: t.flatten(),
    lambda t: t[None],
    lambda t: t.double(),
    lambda t: t.to(torch.int64),
    lambda t: torch.full(t.shape, float("nan")) if t.is_floating_point() else t,
    lambda t: torch.cat([t, t]),
    lambda t: t.flatten()[:0],
    lambda t: torch.zeros(()),
)


def run(given: Case, folder: Path) -> None:
    """Reads the domain as evaluation does.

    Raises:
        ProposalsError: it is refused.
        Untrue: what was read contradicts itself.
    """
    given.write(folder)
    stored_origin(folder)
    domain = open_domain(folder, "coco")
    names = domain.names()
    for output in domain.batches():
        images, queries = output.proposals.mask_logits.shape[:2]
        shapes = [output.proposals.iou.shape, output.proposals.query_embeds.shape[:2]]
        shapes += [embeds.shape[:2] for embeds in output.clip.values()]
        if any(tuple(shape) != (images, queries) for shape in shapes) or len(output) != images:
            raise Untrue(f"shapes {shapes} for {images} images with {queries} proposals")
        if not domain.sources:  # evaluation says which are missing before it reads the first batch
            continue
        output.embeddings(domain.sources[0]).query.float() @ names.names.target.embeds.T
