"""Losses, data and starting weights that do not belong together; whole commands are in tests/test_errors_cli.py."""

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
def test_what_belongs_together(given, data, train_config, tmp_path) -> None:
    check_losses(train_config(tmp_path, *given), data)


@pytest.mark.parametrize(
    ("given", "data", "message"),
    [
        ([], LABELLED, "the data have image labels, but no loss is set for them: choose image_labels=cls"),
        (
            ["image_labels=cls_masksum"],
            PLAIN,
            "losses.image_label_matching, losses.mask_sum: for image labels, but the data have none",
        ),
        (NO_SEGMENTS, PLAIN, "losses has none for batches with segments: choose losses=mask2former"),
        (["losses.distillation.weight=1"], PLAIN, "losses.distillation compares with the weights .* init_from="),
        (["++starts_from=opsnet_r50"], PLAIN, "fine-tunes a trained model: give the checkpoint of opsnet_r50"),
    ],
)
def test_what_does_not(given, data, message, train_config, tmp_path) -> None:
    with pytest.raises(InputError, match=message):
        check_losses(train_config(tmp_path, *given), data)
