"""``domain.json``: what the proposals of a domain were made from, validated, and the hash that ties files to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opsnet.evaluation.proposal_files import ProposalsError
from opsnet.inference.network_output import CLIP_SOURCES

FORMAT = 1  # increase it when a change makes older folders unreadable
ABOUT = "domain.json"
TIED = "tied"
"""Key that is true where files carry the hash of their ``domain.json``; folders of earlier versions lack it."""
MAX_BYTES = 64 * 2**20
"""Most bytes of a ``domain.json``: a hundred thousand batches, and 21,843 names with synonyms, are 5 MB."""


def read_about(path: Path) -> dict[str, Any]:
    """The content of a ``domain.json``.

    Raises:
        ProposalsError: it cannot be read, has another format, or its values do not fit one another.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES // 2**20} MB")
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = about["format"]
        if version == FORMAT:
            _check(about)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ProposalsError(
            f"{path} is not the metadata of stored proposals ({type(error).__name__}: {error}): save them again"
        ) from error
    if version != FORMAT:
        raise ProposalsError(
            f"{path} has format {version!r}, but this version reads format {FORMAT}: save the proposals again"
        )
    return about


def _check(about: Mapping[str, Any]) -> None:
    """Checks the values that are used without further checks.

    Raises:
        ValueError, TypeError, KeyError: one is invalid.
    """
    sizes, sources, vocabulary = about["batch_sizes"], about["sources"], about["vocabulary"]
    if not isinstance(sizes, list) or not all(type(size) is int and size > 0 for size in sizes):
        raise ValueError("batch_sizes is not a list of numbers of images")
    if type(about["batches"]) is not int or about["batches"] != len(sizes):
        raise ValueError("batches is not the length of batch_sizes")
    if not isinstance(sources, list) or not all(isinstance(s, str) and s in CLIP_SOURCES for s in sources):
        raise ValueError("sources are not those of CLIP embeddings")
    if not isinstance(vocabulary, dict) or vocabulary.keys() != {"name", "categories"}:
        raise ValueError("vocabulary is not a name with categories")


def digest(about: Mapping[str, Any]) -> str | None:
    """The first 16 hex digits of the SHA-256 of the content, which each file carries; ``None`` in earlier folders."""
    if about.get(TIED) is not True:
        return None
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
