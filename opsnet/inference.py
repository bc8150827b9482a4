"""A network ready for prediction: from a trained checkpoint, or from published weights without any training."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from opsnet.clip.loading import check_clip_hash
from opsnet.configuration import config_dir
from opsnet.errors import CheckpointError, InputError
from opsnet.model import OPSNet
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.structures import TextBank
from opsnet.vocabulary import Vocabulary


@dataclass(frozen=True)
class InferenceRules:
    """How a checkpoint was validated, which is how it is evaluated and predicts where nothing else is asked for.

    Attributes:
        filtering: arguments of its :class:`MaskFiltering`.
        filters: what its world changes of the yamls of conf/filtering, by name: ``{"cls": {"threshold": 0.4}}``.
        overlap: of the merge.
        shortest, longest: pixels of the edges of an image that the network sees, see :class:`EvalTransform`; without
            ``shortest``, images are made smaller only.
        tuning_images: training images that were left out, for thresholds to be tuned on.
    """

    filtering: Mapping[str, Any]
    filters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    overlap: float = 0.8
    shortest: int | None = None
    longest: int | None = 1333
    tuning_images: int = 0

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> InferenceRules:
        """What a checkpoint's configuration holds; one of before it held them was the miniature's."""
        overlap = float(stored["overlap"])
        if "inference" in stored:
            return cls(**stored["inference"], overlap=overlap)
        filters: Any = OmegaConf.to_container(OmegaConf.load(config_dir() / "world" / "scenes.yaml").filters)
        return cls({"kind": "cls_iou", **filters["cls_iou"]}, filters, overlap)

    @property
    def mask_filtering(self) -> MaskFiltering:
        """The filter."""
        return MaskFiltering(**self.filtering)


MASK2FORMER = InferenceRules({"kind": "iou", "threshold": 0.8}, shortest=800)
"""Of published weights, whose no-object score stands for the predicted IoU."""


@dataclass(frozen=True)
class TrainedModel:
    """The network, the names that it was trained with, and how it is used.

    Attributes:
        rules: of inference.
        experiment: of the training, if that is known.
        config: what builds the same network again, as a checkpoint carries it; ``None`` where nothing was trained.
    """

    model: OPSNet
    train_vocabulary: Vocabulary
    rules: InferenceRules = MASK2FORMER
    experiment: str | None = None
    config: Mapping[str, Any] | None = None

    @property
    def overlap(self) -> float:
        """Of the merge."""
        return self.rules.overlap

    def text(self, vocabulary: Vocabulary) -> TextBank:
        """A vocabulary's text bank on the network's device."""
        return self.model.clip.text_encoder(vocabulary).to(self.model.void_embed.device)


def load_checkpoint(
    path: str | Path, *, clip_weights: str | Path | None = None, device: str = "auto", label_names_known: bool = False
) -> TrainedModel:
    """Builds the network that a checkpoint describes and loads its weights.

    Args:
        path: written by ``opsnet-train``.
        clip_weights: where CLIP's weights lie now; by default where they lay at training.
        device: "auto" takes CUDA where there is one.
        label_names_known: names that were trained by image labels count as training names beside those of the
            segments, in s and H; the paper keeps to the latter.

    Raises:
        CheckpointError: no such file, not an OPSNet checkpoint, or trained with another CLIP, or without image labels
            where their names are wanted.
        ClipWeightsError: CLIP's weights are not where they should be.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CheckpointError(
            f"checkpoint {path} does not exist: give checkpoint=PATH of a .ckpt written by opsnet-train"
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        config = checkpoint["opsnet"]["config"]
    except Exception as error:  # pickle, zip and key errors of a foreign or broken file
        raise CheckpointError(
            f"{path} is not an OPSNet checkpoint ({type(error).__name__}): give one written by opsnet-train"
        ) from error
    if clip_weights is not None:
        config["clip"]["model"]["weights"] = str(clip_weights)
    model = build_model(config)
    check_clip_hash(checkpoint, model.clip.weights_hash, f"checkpoint {path}", key="clip_weights")
    weights = {k.removeprefix("model."): v for k, v in checkpoint["state_dict"].items() if k.startswith("model.")}
    return with_weights(
        model, weights, config, name=f"checkpoint {path}", device=device, label_names_known=label_names_known
    )


def build_model(config: Mapping[str, Any]) -> OPSNet:
    """The network that a checkpoint's configuration describes, with CLIP's weights and no others.

    Raises:
        ClipWeightsError: CLIP's weights are not where they should be.
    """
    from hydra.utils import instantiate

    cfg = OmegaConf.create({key: config[key] for key in ("model", "backbone", "clip")})
    cfg.clip.model.hint = "give clip_weights=PATH of the CLIP that the checkpoint was trained with"
    with _collector_paused():
        model: OPSNet = instantiate(cfg.model, backbone=cfg.backbone, clip=cfg.clip)
    return model


@contextmanager
def _collector_paused() -> Iterator[None]:
    """timm and open_clip make a great many objects that stay: looking for garbage is a fifth of importing them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def with_weights(
    model: OPSNet, weights: Mapping[str, Tensor], config: Mapping[str, Any], *, name: str, device: str,
    label_names_known: bool = False,
) -> TrainedModel:  # fmt: skip
    """The network of :func:`build_model` with its trained weights, CLIP's not among them, ready on a device.

    Args:
        name: of what the weights come from, for messages.
        device, label_names_known: see :func:`load_checkpoint`.

    Raises:
        CheckpointError: trained without image labels where their names are wanted.
    """
    own = {f"clip.{k}": v for k, v in model.clip.state_dict().items()}
    model.load_state_dict({**weights, **own})
    vocabulary = Vocabulary.from_categories(config["vocabulary"]["name"], config["vocabulary"]["categories"])
    if label_names_known:
        if "label_vocabulary" not in config:
            raise CheckpointError(f"{name} was trained without image labels: give label_names_known=false")
        vocabulary = vocabulary.union(Vocabulary.from_categories(**config["label_vocabulary"]))
    rules, experiment = InferenceRules.of(config), config.get("experiment")
    return TrainedModel(model.eval().to(pick_device(device)), vocabulary, rules, experiment, config)


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
