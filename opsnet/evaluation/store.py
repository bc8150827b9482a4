"""A folder of network outputs for test images, on which any settings can be scored without the network.

``<folder>/<domain>/`` has ``domain.json`` (metadata, written first), ``text.safetensors`` and one file per batch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from opsnet.checkpoint.loading import checked
from opsnet.checkpoint.stored_config import check_inference
from opsnet.evaluation.domain_file import ABOUT, FORMAT, TIED, digest, read_about
from opsnet.evaluation.mask_bytes import KINDS
from opsnet.evaluation.proposal_files import (
    ProposalsError,
    read_names,
    read_outputs,
    read_recognizer,
    write_names,
    write_outputs,
)
from opsnet.inference.config import InferenceConfig
from opsnet.inference.names import DomainNames
from opsnet.inference.network_output import NetworkOutput
from opsnet.utils.files import write_json
from opsnet.vocabulary import Vocabulary

FOLDER = "proposals"  # in the folder of an evaluation run
TEXT = "text.safetensors"


@dataclass(frozen=True)
class StoredDomain:
    """The proposals of one domain on disk.

    Attributes:
        folder: ``<folder>/<domain>``.
        about: the content of its ``domain.json``.
    """

    folder: Path
    about: Mapping[str, Any]

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of the stored CLIP embeddings."""
        return tuple(self.about["sources"])

    def path(self, index: int) -> Path:
        """Path of a batch's file."""
        return self.folder / f"{index:06d}.safetensors"

    def names(self) -> DomainNames:
        """The names of the domain.

        Raises:
            ProposalsError: the file is damaged, or of other proposals.
        """
        return read_names(self.folder / TEXT, digest(self.about))

    def batch(self, index: int) -> NetworkOutput:
        """One batch.

        Raises:
            ProposalsError: the file is damaged, or of other proposals.
        """
        return read_outputs(self.path(index), digest(self.about))

    def batches(self) -> Iterator[NetworkOutput]:
        """Yields the batches in order.

        Raises:
            ProposalsError: a file is damaged, or of other proposals.
        """
        yield from map(self.batch, range(self.about["batches"]))

    def bytes(self) -> int:
        """Size on disk in bytes."""
        return sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))

    def require_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Checks that the dataset still has the vocabulary of the stored text embeddings.

        Raises:
            ProposalsError: it does not.
        """
        if self.about["vocabulary"] != {"name": vocabulary.name, "categories": vocabulary.categories()}:
            raise ProposalsError(
                f"{self.folder} was stored with a vocabulary that differs from the current '{vocabulary.name}': give "
                "the vocabulary and data with which it was stored, or save the proposals again"
            )


def open_domain(folder: Path | str, domain: str) -> StoredDomain:
    """Opens the stored proposals of a domain after checking that they are complete.

    Args:
        folder: folder of the proposals, or of the run that wrote them.
        domain: name of the domain.

    Raises:
        ProposalsError: the folder does not have this domain, has another format, or is incomplete.
    """
    folder = _stored(folder)
    path = folder / domain / ABOUT
    if not path.is_file():
        known = ", ".join(sorted(p.parent.name for p in folder.glob(f"*/{ABOUT}")))
        raise ProposalsError(
            f"{folder} has no proposals of '{domain}' (it has {known or 'none at all'}): give proposals=FOLDER "
            f"written by save_proposals=true, or leave the domain out with ~data.module.test.{domain}"
        )
    about = read_about(path)
    stored = StoredDomain(path.parent, about)
    missing = [i for i in range(about["batches"]) if not stored.path(i).is_file()]
    if missing or not (stored.folder / TEXT).is_file():
        raise ProposalsError(
            f"{stored.folder} is incomplete: {len(missing)} of {about['batches']} batches are missing; run the command "
            "that saves them again with the same hydra.run.dir to resume it"
        )
    return stored


ORIGIN = ("checkpoint", "experiment", "rules", "query_embeddings")
"""Keys of ``domain.json`` that are equal in all domains of a folder."""


@dataclass(frozen=True)
class StoredOrigin:
    """The network that made proposals.

    Attributes:
        experiment: the experiment that trained it; ``None`` if unknown.
        inference: its inference settings; ``None`` if unknown.
        recognizer: weights of its recognizer; empty if it has none.
        query_embeddings: whether its query embeddings were trained.
    """

    experiment: str | None
    inference: InferenceConfig | None
    recognizer: Mapping[str, Tensor]
    query_embeddings: bool = True


def stored_origin(folder: Path | str) -> StoredOrigin:
    """The network of the proposals in a folder.

    Raises:
        ProposalsError: a file is damaged, or its domains were stored from different networks.
    """
    paths = sorted(_stored(folder).glob(f"*/{ABOUT}"))
    abouts = [read_about(path) for path in paths]
    for path, other in zip(paths[1:], abouts[1:], strict=True):
        if different := [key for key in ORIGIN if other.get(key) != abouts[0].get(key)]:
            raise ProposalsError(
                f"{path.parent} and {paths[0].parent} were stored from different networks or settings "
                f"({', '.join(different)}): store all domains of a folder with one command"
            )
    about = abouts[0] if abouts else {}
    inference = _inference(about["rules"], paths[0]) if "rules" in about else None
    text = paths[0].parent / TEXT if paths else None
    recognizer = read_recognizer(text, digest(about)) if text is not None and text.is_file() else {}
    return StoredOrigin(about.get("experiment"), inference, recognizer, about.get("query_embeddings", True) is True)


def _inference(stored: Any, path: Path) -> InferenceConfig:
    try:
        return checked(InferenceConfig(**check_inference(stored, str(path))))
    except (TypeError, ValueError) as error:
        raise ProposalsError(f"{path}: its `rules` cannot be used ({error}): save the proposals again") from error


def _stored(folder: Path | str) -> Path:
    """The folder of the proposals; ``folder`` may also be that of their run."""
    path = Path(folder).expanduser()
    return path / FOLDER if (path / FOLDER).is_dir() else path


class ProposalWriter:
    """Stores the outputs for one domain batch by batch, and reuses batches that an interrupted run has stored.

    Args:
        folder: folder of all domains.
        domain: name of the domain.
        names: the domain's names.
        vocabulary: the dataset's vocabulary.
        made_by: origin of the proposals: the ``checkpoint``'s fingerprint, the ``experiment`` that trained it, the
            ``rules`` of its inference, ``query_embeddings: False`` if they were not trained, and the hashes of the
            ``data``, see :func:`opsnet.evaluation.data_hash.data_hashes`.
        batches: number of images of each batch.
        sources: sources of the CLIP embeddings.
        masks: one of the kinds of :mod:`opsnet.evaluation.mask_bytes`.
        recognizer: weights of the recognizer in ``rules``.
        write: whether to write the metadata and the names; one of several processes does, before the others write.

    Raises:
        ProposalsError: the folder has other proposals, or ``masks`` is unknown.
    """

    def __init__(
        self, folder: Path, domain: str, *, names: DomainNames, vocabulary: Vocabulary,
        made_by: Mapping[str, Any], batches: Sequence[int], sources: Sequence[str], masks: str,
        recognizer: Mapping[str, Tensor] | None = None, write: bool = True,
    ) -> None:  # fmt: skip
        if masks not in KINDS:
            raise ProposalsError(f"proposal_masks must be one of {', '.join(KINDS)}, got '{masks}'")
        about = {
            "format": FORMAT, TIED: True, "domain": domain, **made_by, "masks": masks, "sources": sorted(sources),
            "batches": len(batches), "batch_sizes": list(batches),
            "vocabulary": {"name": vocabulary.name, "categories": vocabulary.categories()},
        }  # fmt: skip
        self.stored, self.exact = StoredDomain(folder / domain, about), masks == "exact"
        if not write:
            return
        path = folder / domain / ABOUT
        if path.is_file() and _without_tie(read_about(path)) != _without_tie(json.loads(json.dumps(about))):
            raise ProposalsError(
                f"{path.parent} has proposals of another checkpoint, data or kind: give another hydra.run.dir, or "
                "delete them"
            )
        write_json(path, about)
        write_names(path.parent / TEXT, names, recognizer, digest(about))

    def load_cached(self, index: int, image_ids: Sequence[int | str]) -> NetworkOutput | None:
        """The batch of these images as an earlier run stored it losslessly; ``None`` if there is none."""
        path = self.stored.path(index)
        if not (self.exact and path.is_file()):
            return None
        try:
            outputs = read_outputs(path, digest(self.stored.about))
        except ProposalsError:
            return None
        return outputs if outputs.image_ids == tuple(image_ids) else None

    def write(self, index: int, outputs: NetworkOutput) -> None:
        """Writes a batch.

        Raises:
            ProposalsError: the folder was removed meanwhile.
            WriteError: the disk is full or cannot be written.
        """
        if not (self.stored.folder / ABOUT).is_file():
            raise ProposalsError(f"{self.stored.folder} was removed while proposals were written to it: start again")
        write_outputs(self.stored.path(index), outputs, self.stored.about["masks"], digest(self.stored.about))


def _without_tie(about: Mapping[str, Any]) -> dict[str, Any]:
    """What a folder of an earlier version has in common with one that is continued."""
    return {key: value for key, value in about.items() if key != TIED}
