"""Checks that losses, data and initial weights of a training match, before the networks are built."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig
from torch import nn

from opsnet.losses.building import loss_classes
from opsnet.structures import ImageLabels, SegmentTargets
from opsnet.training.old_options import refuse_old_keys
from opsnet.utils.errors import InputError


def check_losses(cfg: DictConfig, data: Any) -> None:
    """Checks that every kind of image has a loss, every loss has its images, and a fine-tuning has initial weights.

    Args:
        cfg: conf/train.yaml.
        data: the data module, set up.

    Raises:
        InputError: losses, data and initial weights do not match.
    """
    from opsnet.data.image_label_dataset import LabelledImages

    refuse_old_keys(cfg)
    if cfg.get("starts_from") and not cfg.init_from:
        raise InputError(
            f"{cfg.experiment_name} fine-tunes a trained model: give a checkpoint of {cfg.starts_from} in the same "
            "world (in the miniature: of experiment=scenes) by init_from=PATH"
        )
    if isinstance(data.datasets.get("train"), LabelledImages):
        raise InputError(
            "data.module.train has only image labels, but OPSNet learns masks from segments: train on both, e.g. by "
            "data=coco_imagenet"
        )
    classes = loss_classes(cfg.losses)
    _check_kinds({name: loss.targets for name, loss in classes.items()}, data.label_vocabulary is not None)
    for name, loss in classes.items():
        if loss.needs_initial_weights and not cfg.init_from:
            raise InputError(
                f"losses.{name} compares with the initial weights of a fine-tuning: give them by "
                f"init_from=CHECKPOINT, or leave the loss out by losses.{name}.weight=0"
            )
    _check_recognizer(cfg, [name for name, loss in classes.items() if loss.trains_recognizer])


def _check_recognizer(cfg: DictConfig, losses: list[str]) -> None:
    """Checks that a learned recognizer has a loss and held-out names; ``losses`` are the losses that train it."""
    from hydra.utils import instantiate

    recognizer = instantiate(cfg.modulation)
    learns = isinstance(recognizer, nn.Module) and bool(list(recognizer.parameters()))
    if losses and not learns:
        raise InputError(
            f"losses.{losses[0]} trains the recognizer, but {type(recognizer).__name__} has no parameters: choose "
            f"modulation=learned, or leave the loss out by losses.{losses[0]}.weight=0"
        )
    if learns and not losses:
        raise InputError(
            f"{type(recognizer).__name__} has parameters, but no loss trains them: add one, e.g. "
            "losses.recognition.weight=1, or choose another modulation"
        )
    if isinstance(cfg.held_out, str):
        raise InputError(f"held_out must be a list of names: give held_out=[{cfg.held_out}]")
    if losses and not cfg.held_out:
        raise InputError(
            f"losses.{losses[0]} trains the recognizer on names that the queries do not learn: give some names of the "
            "training vocabulary by held_out=[...], e.g. a third of them"
        )


def _check_kinds(targets: dict[str, type], has_image_labels: bool) -> None:
    """Checks that there is a loss for each kind of target, and no loss without targets.

    Args:
        targets: the type of target of each loss, by name.
        has_image_labels: whether the data has image labels in addition to segments.
    """
    if SegmentTargets not in targets.values():
        raise InputError("losses has no loss for batches with segments: choose losses=mask2former, or scenes")
    label_losses = [f"losses.{name}" for name, kind in targets.items() if kind is ImageLabels]
    if has_image_labels and not label_losses:
        raise InputError(
            "the data has image labels, but no loss uses them: choose image_labels=cls or cls_masksum, or data "
            "without labels, such as data=coco"
        )
    if label_losses and not has_image_labels:
        raise InputError(
            f"{', '.join(label_losses)}: these losses need image labels, but the data has none: choose "
            "data=coco_imagenet (scenes_plus in the miniature), or image_labels=none"
        )
