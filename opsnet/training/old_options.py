"""Options from before each loss was a member of ``losses``: a command says which took their place."""

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
}


@contextmanager
def refuse_old_options(arguments: Sequence[str]) -> Iterator[None]:
    """Within it an old option, on the command line or in the defaults of a yaml, is an input error.

    Args:
        arguments: of the command line.

    Raises:
        InputError: the sentence tells what took its place.
    """
    from hydra.errors import HydraException

    for argument in arguments:
        key, chosen = key_of(argument), argument.partition("=")[2]
        if key == "supervision":
            raise InputError(f"{argument}: the group was renamed: give {_GROUP.get(chosen, 'losses=mask2former')}")
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
    """An old key in a yaml, which would have no effect, is an input error.

    Args:
        cfg: conf/train.yaml.

    Raises:
        InputError: the sentence tells what took its place.
    """
    for key in ("supervision", "distillation", "image_labels"):
        if cfg.get(key) is not None:
            place = _KEYS.get(key, "losses (conf/image_labels)")
            raise InputError(f"`{key}` in a yaml of the training has no effect: it is {place} now")
