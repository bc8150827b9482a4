"""Whether losses, data and starting weights of a training belong together, checked before the networks are built."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig
from torch import nn

from opsnet.losses.building import loss_classes
from opsnet.structures import ImageLabels, SegmentTargets
from opsnet.training.old_options import refuse_old_keys
from opsnet.utils.errors import InputError


def check_losses(cfg: DictConfig, data: Any) -> None:
    """Makes sure that every kind of image has its losses, every loss its images, and a fine-tuning its start.

    Args:
        cfg: conf/train.yaml.
        data: the data module, set up.

    Raises:
        InputError: it is not so.
    """
    from opsnet.data.image_label_dataset import ImageLabelDataset

    refuse_old_keys(cfg)
    if cfg.get("starts_from") and not cfg.init_from:
        raise InputError(
            f"{cfg.experiment_name} fine-tunes a trained model: give the checkpoint of {cfg.starts_from} in the same "
            "world by init_from=PATH"
        )
    if isinstance(data.datasets.get("train"), ImageLabelDataset):
        raise InputError(
            "data.module.train has image labels only, and OPSNet learns its masks from segments: train on both, e.g. "
            "by data=coco_imagenet"
        )
    classes = loss_classes(cfg.losses)
    _check_kinds({name: loss.targets for name, loss in classes.items()}, data.label_vocabulary is not None)
    for name, loss in classes.items():
        if loss.needs_initial_weights and not cfg.init_from:
            raise InputError(
                f"losses.{name} compares with the weights that a fine-tuning starts from: give them by "
                f"init_from=CHECKPOINT, or leave the loss out by losses.{name}.weight=0"
            )
    _check_recognizer(cfg, [name for name, loss in classes.items() if loss.trains_recognizer])


def _check_recognizer(cfg: DictConfig, losses: list[str]) -> None:
    """A recognizer that learns needs a loss and held-out names; ``losses`` are those that train one."""
    from hydra.utils import instantiate

    recognizer = instantiate(cfg.modulation)
    learns = isinstance(recognizer, nn.Module) and bool(list(recognizer.parameters()))
    if losses and not learns:
        raise InputError(
            f"losses.{losses[0]} trains the recognizer, and {type(recognizer).__name__} has nothing to learn: choose "
            f"modulation=learned, or leave the loss out by losses.{losses[0]}.weight=0"
        )
    if learns and not losses:
        raise InputError(
            f"{type(recognizer).__name__} is a recognizer that learns, and no loss trains it: add one, e.g. "
            "losses.recognition.weight=1, or choose another modulation"
        )
    if losses and not cfg.held_out:
        raise InputError(
            f"losses.{losses[0]} trains the recognizer on names that the queries do not learn: give some names of the "
            "training vocabulary by held_out=[...], e.g. a third of them"
        )


def _check_kinds(targets: dict[str, type], has_image_labels: bool) -> None:
    """
    Args:
        targets: of the losses by name.
        has_image_labels: whether the data have image labels beside their segments.
    """
    if SegmentTargets not in targets.values():
        raise InputError("losses has none for batches with segments: choose losses=mask2former, or scenes")
    of_labels = [f"losses.{name}" for name, kind in targets.items() if kind is ImageLabels]
    if has_image_labels and not of_labels:
        raise InputError(
            "the data have image labels, but no loss is set for them: choose image_labels=cls or cls_masksum, or data "
            "without labels, such as data=coco"
        )
    if of_labels and not has_image_labels:
        raise InputError(
            f"{', '.join(of_labels)}: for image labels, but the data have none: choose data=coco_imagenet, or "
            "image_labels=none"
        )
