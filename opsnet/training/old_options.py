"""Refuses options of earlier versions with a message that states the option that replaced them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opsnet.sweep.launch import key_of
from opsnet.utils.errors import InputError

_GROUP = {"masks": "losses=mask2former", "scenes": "losses=scenes"} | {
    f"{world}{labels}": f"losses={losses} image_labels={labels}"
    for world, losses in (("", "mask2former"), ("real_", "mask2former"), ("scenes_", "scenes"))
    for labels in ("cls", "cls_masksum")
}
_KEYS = {
    "supervision.class_weight": "losses.cross_entropy.weight (matching.class_weight in the matching)",
    "supervision.bce_weight": "losses.mask_bce.weight (matching.bce_weight in the matching)",
    "supervision.dice_weight": "losses.dice.weight (matching.dice_weight in the matching)",
    "supervision.iou_weight": "losses.iou.weight",
    "supervision.void_weight": "losses.cross_entropy.no_object_weight",
    "supervision.points": "matching.points",
    "supervision.class_normalization": "losses.cross_entropy.normalization",
    "supervision": "losses and matching (conf/losses)",
    "image_labels.criterion.match_weight": "losses.image_label_matching.weight",
    "image_labels.criterion.sum_weight": "losses.mask_sum.weight",
    "image_labels.criterion.reduction": "losses.mask_sum.reduction",
    "image_labels.criterion.iou_threshold": "losses.image_label_matching.iou_threshold",
    "image_labels.criterion.form": "losses.image_label_matching.form",
    "image_labels.modulation.alpha": "losses.image_label_matching.recognizer.alpha",
    "image_labels.modulation.beta": "losses.image_label_matching.recognizer.beta",
    "image_labels.sampled_names": "losses.image_label_matching.sampled_names",
    "distillation": "losses.distillation.weight",
    "label_names_known": "treat_label_names_as_seen",
}


@contextmanager
def refuse_old_options(arguments: Sequence[str]) -> Iterator[None]:
    """Context in which an old option, on the command line or in a yaml's defaults list, is an input error.

    Args:
        arguments: arguments of the command line.

    Raises:
        InputError: the message states the option that replaced it.
    """
    from hydra.errors import HydraException

    for argument in arguments:
        key, chosen = key_of(argument), argument.partition("=")[2]
        if key == "supervision":
            instead = _GROUP.get(chosen, "losses=mask2former")
            hint = " (losses=scenes in the miniature)" if "mask2former" in instead else ""
            raise InputError(f"{argument}: the group was renamed: give {instead}{hint}")
        if key in _KEYS:
            raise InputError(f"{argument}: the key was renamed: it is {_KEYS[key]} now")
    try:
        yield
    except HydraException as error:
        if "supervision" in str(error):
            raise InputError(
                "`override /supervision` in a yaml: the group was renamed: /losses is mask2former or scenes, and "
                "/image_labels is cls or cls_masksum"
            ) from error
        raise


def refuse_old_keys(cfg: Mapping[str, object]) -> None:
    """Refuses old keys in a yaml, which would have no effect.

    Args:
        cfg: conf/train.yaml.

    Raises:
        InputError: the message states the key that replaced it.
    """
    for key in ("supervision", "distillation", "image_labels"):
        if cfg.get(key) is not None:
            replacement = _KEYS.get(key, "losses (conf/image_labels)")
            raise InputError(f"`{key}` in a yaml of the training has no effect: it is {replacement} now")
