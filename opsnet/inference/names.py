"""Class names prepared for prediction: the cache of text banks, and the names of a test domain."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor

from opsnet.model import OPSNet
from opsnet.recognition.recognizer import PreparedNames, prepare
from opsnet.structures import TextBank
from opsnet.vocabulary import Vocabulary

CACHED = 16
"""Number of cached vocabularies; one of 21,843 concepts takes 100 MB or more."""


class NameCache:
    """Prepares vocabularies for a network that was trained with one of them, on the network's device.

    Args:
        model: the network, whose CLIP embeds the names.
        train_vocabulary: the names that it was trained with.
    """

    def __init__(self, model: OPSNet, train_vocabulary: Vocabulary) -> None:
        self.model, self.train_vocabulary = model, train_vocabulary
        self._train: TextBank | None = None
        self._prepared: OrderedDict[Vocabulary, PreparedNames] = OrderedDict()

    def prepared(self, vocabulary: Vocabulary) -> PreparedNames:
        """The M names of ``vocabulary``, prepared for a recognizer; the last ``CACHED`` vocabularies are cached."""
        train = self.train_bank()
        names = self._prepared.get(vocabulary)
        if names is None or names.train is not train:
            same = vocabulary == self.train_vocabulary
            seen = vocabulary.seen_in(self.train_vocabulary)
            names = self._prepared[vocabulary] = prepare(train if same else self._embed(vocabulary), train, seen)
        self._prepared.move_to_end(vocabulary)
        while len(self._prepared) > CACHED:
            self._prepared.popitem(last=False)
        return names

    def bank(self, vocabulary: Vocabulary) -> TextBank:
        """The text bank of ``vocabulary``."""
        return self.prepared(vocabulary).target

    def train_bank(self) -> TextBank:
        """The text bank of the N training names."""
        known = self._train
        if known is None or known.embeds.device != self.model.no_object_embed.device:
            known = self._train = self._embed(self.train_vocabulary)
        return known

    def _embed(self, vocabulary: Vocabulary) -> TextBank:
        bank: TextBank = self.model.clip.text_encoder(vocabulary)
        return bank.to(self.model.no_object_embed.device)


@dataclass(frozen=True)
class DomainNames:
    """The names and embeddings for labelling network outputs of one test domain, all on one device.

    Attributes:
        names: M target and N training names.
        seen: for each target name, whether it is in the training vocabulary.
        no_object_embed: (D,), the learned no-object embedding.
        overlap: the merge's overlap threshold, see :func:`opsnet.panoptic.merge.merge_panoptic`.
    """

    names: PreparedNames
    seen: tuple[bool, ...]
    no_object_embed: Tensor
    overlap: float

    @property
    def target(self) -> TextBank:
        """Bank of the M target names."""
        return self.names.target

    def to(self, device: torch.device | str) -> DomainNames:
        """The same with every tensor on ``device``."""
        no_object_embed = self.no_object_embed.to(device)
        return dataclasses.replace(self, names=self.names.to(device), no_object_embed=no_object_embed)
