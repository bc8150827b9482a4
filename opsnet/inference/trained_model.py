"""A network ready for inference, and the one that is made of published weights without any training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from opsnet.inference.config import MASK2FORMER, InferenceConfig
from opsnet.inference.names import DomainNames, NameCache
from opsnet.model import OPSNet
from opsnet.recognition.modulation import EmbeddingModulation
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary


@dataclass(frozen=True)
class TrainedModel:
    """The network, the names that it was trained with, and how it is used.

    Attributes:
        inference: how it was validated.
        experiment: that trained it, if known.
        config: what builds the same network again, as a checkpoint carries it; ``None`` where nothing was trained.
        recognizer: the one that it was trained and validated with, built from ``inference.recognizer``.
        names: vocabularies prepared for it.
    """

    model: OPSNet
    train_vocabulary: Vocabulary
    inference: InferenceConfig = MASK2FORMER
    experiment: str | None = None
    config: Mapping[str, Any] | None = None
    recognizer: Recognizer = field(default_factory=EmbeddingModulation)
    names: NameCache = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", NameCache(self.model, self.train_vocabulary))

    @property
    def overlap(self) -> float:
        """Of the merge."""
        return self.inference.overlap

    def domain(self, vocabulary: Vocabulary) -> DomainNames:
        """What labelling the images of a dataset with its own vocabulary needs."""
        seen = tuple(vocabulary.seen_in(self.train_vocabulary))
        return DomainNames(
            self.names.prepared(vocabulary), seen, self.model.no_object_embed.detach(), self.inference.overlap
        )


def load_zero_shot(cfg: DictConfig, *, device: str = "auto") -> TrainedModel:
    """A published Mask2Former with CLIP beside it, nothing trained (Table 1, row 2).

    Its query embeddings mean nothing, so only CLIP's can name; its predicted IoU is what its no-object score leaves.

    Args:
        cfg: with the groups ``model`` (``model.weights``), ``backbone`` and ``clip``.
        device: "auto" takes CUDA where there is one.

    Raises:
        WeightsError: ``model.weights`` cannot be read or are of another network.
        ClipWeightsError: CLIP's weights are not where they should be.
    """
    from hydra.utils import instantiate

    backbone = OmegaConf.merge(cfg.backbone, {"pretrained": False})  # the published weights hold the backbone too
    model: OPSNet = instantiate(cfg.model, backbone=backbone, clip=cfg.clip, zero_shot=True)
    return TrainedModel(model.eval().to(pick_device(device)), Vocabulary.load("coco"))


def pick_device(name: str) -> str:
    """The device of a name; "auto" is CUDA where there is one.

    Raises:
        InputError: CUDA where there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device={name}, but PyTorch sees no GPU: give device=cpu")
    return name
