"""A network ready for inference, trained or built from published weights without training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from opsnet.clip.shared_backbone import SharedClipBackbone
from opsnet.inference.config import MASK2FORMER, ZERO_SHOT, InferenceConfig
from opsnet.inference.names import DomainNames, NameCache
from opsnet.model import OPSNet
from opsnet.recognition.modulation import ClipOnly, EmbeddingModulation
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary

PUBLISHED_CLIP = 224
"""Smallest edge in pixels of the images that published CLIPs were trained on; networks use them at 800 and more."""


@dataclass(frozen=True)
class TrainedModel:
    """A network with its training vocabulary and inference settings.

    Attributes:
        model: the network.
        train_vocabulary: the names that it was trained with; of a CLIP alone any, none was.
        inference: the inference settings of its validation.
        experiment: the experiment that trained it; ``None`` if unknown.
        config: configuration that builds the same network, as stored in a checkpoint; ``None`` if it was not trained.
        recognizer: the recognizer of its training and validation, built from ``inference.recognizer``.
        has_segmenter: whether it finds masks; ``False`` for a CLIP alone, which names given ones.
        names: cache of vocabularies prepared for it.
    """

    model: OPSNet
    train_vocabulary: Vocabulary
    inference: InferenceConfig = MASK2FORMER
    experiment: str | None = None
    config: Mapping[str, Any] | None = None
    recognizer: Recognizer = field(default_factory=EmbeddingModulation)
    has_segmenter: bool = True
    names: NameCache = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", NameCache(self.model, self.train_vocabulary))

    @property
    def overlap(self) -> float:
        """The merge's overlap threshold."""
        return self.inference.overlap

    def domain(self, vocabulary: Vocabulary) -> DomainNames:
        """The names and embeddings for labelling the images of a dataset with its vocabulary."""
        seen = tuple(vocabulary.seen_in(self.train_vocabulary))
        return DomainNames(
            self.names.prepared(vocabulary), seen, self.model.no_object_embed.detach(), self.inference.overlap
        )


def load_zero_shot(cfg: DictConfig, *, device: str = "auto") -> TrainedModel:
    """A published Mask2Former combined with CLIP, without training (Table 1, row 2).

    Its query embeddings are meaningless, so segments are labelled only by CLIP; its predicted IoU is 1 minus the
    no-object probability.

    Args:
        cfg: configuration with the groups ``model`` (``model.weights``), ``backbone`` and ``clip``.
        device: "auto" uses CUDA if available.

    Raises:
        WeightsError: ``model.weights`` cannot be read or belong to another network.
        ClipWeightsError: CLIP's weights are missing.
    """
    from hydra.utils import instantiate

    backbone = OmegaConf.merge(cfg.backbone, {"pretrained": False})  # the published weights include the backbone
    model: OPSNet = instantiate(cfg.model, backbone=backbone, clip=cfg.clip, zero_shot=True)
    model.eval().to(pick_device(device))
    return TrainedModel(model, Vocabulary.load("coco"), ZERO_SHOT, recognizer=ClipOnly())


def load_clip_alone(cfg: DictConfig, *, device: str = "auto") -> TrainedModel:
    """A CLIP for naming given masks, in a network whose segmenter is never run (it is untrained).

    Published CLIPs get images at the size of published networks. A smaller one, such as the miniature's, was never
    trained on anything so large, and gets them as the miniature's networks do: only made smaller.

    Args:
        cfg: configuration with the groups ``model`` and ``clip``.
        device: "auto" uses CUDA if available.

    Raises:
        ClipWeightsError: CLIP's weights are missing.
    """
    from hydra.utils import instantiate

    model: OPSNet = instantiate(cfg.model, backbone=SharedClipBackbone(), clip=cfg.clip)
    torch.nn.init.zeros_(model.no_object_embed)  # an untrained one would be another in each run
    model = model.eval().to(pick_device(device))
    is_small = model.clip.image_encoder.image_size < PUBLISHED_CLIP
    inference = replace(MASK2FORMER, shortest=None) if is_small else MASK2FORMER
    return TrainedModel(model, Vocabulary.load("coco"), inference, recognizer=ClipOnly(), has_segmenter=False)


def pick_device(name: str) -> str:
    """The name of a device; "auto" is CUDA if available, else the CPU.

    Raises:
        InputError: it is no device, or one that is not available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(str(name)).type
    except (RuntimeError, TypeError, ValueError) as error:  # ValueError: a number that is too large
        raise InputError(f"device must be auto, cpu, cuda, cuda:1 or mps, got '{name}': change `device`") from error
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device={name}, but PyTorch sees no MPS: give device=cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device={name}, but PyTorch sees no GPU: give device=cpu")
    return name
