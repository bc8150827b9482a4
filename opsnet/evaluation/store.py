"""A folder of what the network said of test pictures, from which any settings are scored without the network.

``<folder>/<domain>/`` holds ``domain.json`` (what it is, written first), ``text.safetensors`` and a file a batch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from opsnet.checkpoint.loading import checked
from opsnet.checkpoint.stored_config import check_inference
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

FORMAT = 1  # raise it when a change makes older folders unreadable
FOLDER = "proposals"  # of an evaluation's run
ABOUT, TEXT = "domain.json", "text.safetensors"


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
        """Where the stored embeddings of CLIP come from."""
        return tuple(self.about["sources"])

    def path(self, index: int) -> Path:
        """The file of a batch."""
        return self.folder / f"{index:06d}.safetensors"

    def names(self) -> DomainNames:
        """The names of the domain.

        Raises:
            ProposalsError: the file is damaged.
        """
        return read_names(self.folder / TEXT)

    def batches(self) -> Iterator[NetworkOutput]:
        """Batch after batch.

        Raises:
            ProposalsError: a file is damaged.
        """
        for index in range(self.about["batches"]):
            yield read_outputs(self.path(index))

    def bytes(self) -> int:
        """On the disk."""
        return sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))

    def require_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Checks that the pictures are still named with the words of the stored embeddings.

        Raises:
            ProposalsError: they are not.
        """
        if self.about["vocabulary"] != {"name": vocabulary.name, "categories": vocabulary.categories()}:
            raise ProposalsError(
                f"{self.folder} was stored with another vocabulary than '{vocabulary.name}' is now: "
                "give the vocabulary and the data as they were, or save the proposals again"
            )


def open_domain(folder: Path | str, domain: str) -> StoredDomain:
    """The stored proposals of a domain, all of them there.

    Args:
        folder: that of the proposals, or of the run that wrote them.
        domain: name of the domain.

    Raises:
        ProposalsError: the folder holds no such domain, has another format, or was not finished.
    """
    folder = _stored(folder)
    path = folder / domain / ABOUT
    if not path.is_file():
        known = ", ".join(sorted(p.parent.name for p in folder.glob(f"*/{ABOUT}")))
        raise ProposalsError(
            f"{folder} holds no proposals of '{domain}' (it has {known or 'none at all'}): give proposals=FOLDER "
            f"written by save_proposals=true, or leave the domain out with ~data.module.test.{domain}"
        )
    about = _about(path)
    stored = StoredDomain(path.parent, about)
    missing = [i for i in range(about["batches"]) if not stored.path(i).is_file()]
    if missing or not (stored.folder / TEXT).is_file():
        raise ProposalsError(
            f"{stored.folder} is unfinished: {len(missing)} of {about['batches']} batches are missing; run the command "
            "that saves them once more with the same hydra.run.dir and it goes on"
        )
    return stored


def stored_origin(folder: Path | str) -> tuple[str | None, InferenceConfig | None, dict[str, Tensor]]:
    """The experiment that trained what made the proposals, and how that was validated; ``None`` where unknown.

    The weights of its recognizer are the third; empty if it has none.
    """
    paths = sorted(_stored(folder).glob(f"*/{ABOUT}"))
    about = _about(paths[0]) if paths else {}
    inference = _inference(about["rules"], paths[0]) if "rules" in about else None
    text = paths[0].parent / TEXT if paths else None
    return about.get("experiment"), inference, read_recognizer(text) if text is not None and text.is_file() else {}


def _inference(stored: Any, path: Path) -> InferenceConfig:
    try:
        return checked(InferenceConfig(**check_inference(stored, str(path))))
    except (TypeError, ValueError) as error:
        raise ProposalsError(f"{path}: its rules cannot be used ({error}): save the proposals again") from error


def _stored(folder: Path | str) -> Path:
    """The folder of the proposals, where that of their run is named."""
    path = Path(folder).expanduser()
    return path / FOLDER if (path / FOLDER).is_dir() else path


def _about(path: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = about["format"]
        int(about["batches"]), about["sources"], about["vocabulary"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ProposalsError(
            f"{path} does not describe stored proposals ({type(error).__name__}): save them again"
        ) from error
    if found != FORMAT:
        raise ProposalsError(f"{path} has format {found}, this opsnet reads format {FORMAT}: save the proposals again")
    return about


class ProposalWriter:
    """Keeps the outputs of one domain, batch after batch; what an interrupted run kept of the same is kept on.

    Args:
        folder: of all domains.
        domain: whose pictures these are.
        names: of the domain.
        vocabulary: of the pictures.
        made_by: what made the proposals: ``checkpoint``, its :func:`fingerprint`, ``experiment``, that trained it, and
            ``rules``, of its inference.
        batches: pictures of each batch to come.
        sources: of CLIP's embeddings.
        masks: a kind of :mod:`opsnet.evaluation.mask_bytes`.
        recognizer: weights of the recognizer in ``rules``.

    Raises:
        ProposalsError: the folder holds proposals of something else, or an unknown kind.
    """

    def __init__(
        self, folder: Path, domain: str, *, names: DomainNames, vocabulary: Vocabulary,
        made_by: Mapping[str, Any], batches: Sequence[int], sources: Sequence[str], masks: str,
        recognizer: Mapping[str, Tensor] | None = None,
    ) -> None:  # fmt: skip
        if masks not in KINDS:
            raise ProposalsError(f"proposal_masks must be one of {', '.join(KINDS)}, got '{masks}'")
        about = {
            "format": FORMAT, "domain": domain, **made_by, "masks": masks, "sources": sorted(sources),
            "batches": len(batches), "batch_sizes": list(batches),
            "vocabulary": {"name": vocabulary.name, "categories": vocabulary.categories()},
        }  # fmt: skip
        self.stored, self.exact = StoredDomain(folder / domain, about), masks == "exact"
        path = folder / domain / ABOUT
        if path.is_file() and _about(path) != json.loads(json.dumps(about)):
            raise ProposalsError(
                f"{path.parent} holds proposals of another checkpoint, data or kind: give another hydra.run.dir, or "
                "delete them"
            )
        write_json(path, about)
        write_names(path.parent / TEXT, names, recognizer)

    def earlier(self, index: int, image_ids: Sequence[int | str]) -> NetworkOutput | None:
        """A batch of these pictures that an earlier run has kept to the bit; ``None`` where there is none."""
        path = self.stored.path(index)
        if not (self.exact and path.is_file()):
            return None
        try:
            outputs = read_outputs(path)
        except ProposalsError:
            return None
        return outputs if outputs.image_ids == tuple(image_ids) else None

    def keep(self, index: int, outputs: NetworkOutput) -> None:
        """Writes a batch."""
        write_outputs(self.stored.path(index), outputs, self.stored.about["masks"])


def fingerprint(checkpoint: Path | str) -> str:
    """Of a checkpoint's bytes."""
    digest = hashlib.sha256()
    with Path(checkpoint).expanduser().open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()[:16]
