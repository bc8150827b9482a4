"""Losses, data and initial weights that do not match; whole commands are tested in tests/test_errors_cli.py."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from opsnet.training.loss_checks import check_losses
from opsnet.utils.errors import InputError

PLAIN = SimpleNamespace(datasets={}, label_vocabulary=None)
LABELLED = SimpleNamespace(datasets={}, label_vocabulary=object())
NO_SEGMENTS = [f"losses.{name}=null" for name in ("cross_entropy", "mask_bce", "dice", "iou")]


@pytest.mark.parametrize(("given", "data"), [([], PLAIN), (["image_labels=cls"], LABELLED),
    (["losses.distillation.weight=1", "init_from=a"], PLAIN)])  # fmt: skip
def test_valid_combinations(given, data, train_config, tmp_path) -> None:
    check_losses(train_config(tmp_path, *given), data)


@pytest.mark.parametrize(
    ("given", "data", "message"),
    [
        ([], LABELLED, "the data has image labels, but no loss uses them: choose image_labels=cls"),
        (
            ["image_labels=cls_masksum"],
            PLAIN,
            "losses.image_label_matching, losses.mask_sum: these losses need image labels, but the data has none",
        ),
        (NO_SEGMENTS, PLAIN, "losses has no loss for batches with segments: choose losses=mask2former"),
        (
            ["losses.distillation.weight=1"],
            PLAIN,
            "losses.distillation compares with the initial weights .* init_from=",
        ),
        (["++starts_from=opsnet_r50"], PLAIN, "fine-tunes a trained model: give a checkpoint of opsnet_r50"),
    ],
)
def test_invalid_combinations(given, data, message, train_config, tmp_path) -> None:
    with pytest.raises(InputError, match=message):
        check_losses(train_config(tmp_path, *given), data)
