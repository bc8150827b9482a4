"""Losses from yaml: which are built, left out or refused, and which key errors name."""

from __future__ import annotations

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from opsnet.losses.base import SegmentLoss
from opsnet.losses.building import build_losses, loss_classes
from opsnet.losses.dice import Dice
from opsnet.losses.iou import IoURegression
from opsnet.utils.errors import InputError

DICE, IOU = "opsnet.losses.dice.Dice", "opsnet.losses.iou.IoURegression"


class Prepared(SegmentLoss):
    """Records the network."""

    def setup(self, model) -> None:
        self.seen = model

    def forward(self, context) -> Tensor:
        return torch.zeros(())


def test_each_is_built_with_its_weight_and_set_up_with_the_network() -> None:
    model = nn.Linear(1, 1)
    cfg = OmegaConf.create(
        {"dice": {"_target_": DICE, "weight": 5}, "own": {"_target_": f"{__name__}.Prepared", "weight": 0.5}}
    )
    losses = build_losses(cfg, model)
    assert [(name, loss.weight) for name, loss in losses.by_name.items()] == [("dice", 5), ("own", 0.5)]
    assert losses.by_name["own"].seen is model


def test_null_and_a_weight_of_0_leave_a_loss_out() -> None:
    cfg = OmegaConf.create(
        {"dice": {"_target_": DICE, "weight": 5.0}, "iou": {"_target_": IOU, "weight": 0}, "x": None}
    )
    assert loss_classes(cfg) == {"dice": Dice}
    assert list(build_losses(cfg, nn.Identity()).by_name) == ["dice"]
    cfg.iou.weight = 1
    assert loss_classes(cfg) == {"dice": Dice, "iou": IoURegression}


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": DICE}, "losses.mine has no weight: give losses.mine.weight, e.g. 1.0"),
        ({"weight": 1.0}, "losses.mine has no _target_: set losses.mine._target_"),
        (3.0, "losses.mine has no _target_"),
        ({"_target_": DICE, "weight": -1}, "losses.mine.weight must be a number of 0 or more, got -1"),
        ({"_target_": DICE, "weight": float("nan")}, "losses.mine.weight must be a number of 0 or more, got nan"),
        ({"_target_": DICE, "weight": "much"}, "losses.mine.weight must be a number of 0 or more, got 'much'"),
        ({"_target_": DICE, "weight": True}, "losses.mine.weight must be a number of 0 or more, got True"),
        ({"_target_": "no.such.Loss", "weight": 1}, "losses.mine._target_ = no.such.Loss cannot be imported"),
        ({"_target_": "opsnet.losses.dice.Dyce", "weight": 1}, "losses.mine._target_ = .*Dyce cannot be imported"),
        ({"_target_": "torch.nn.Linear", "weight": 1}, "losses.mine._target_ = torch.nn.Linear is no loss: derive"),
        ({"_target_": "opsnet.losses.dice.dice", "weight": 1}, "losses.mine._target_ = .*dice is no loss: derive"),
    ],
)
def test_errors_name_the_key(node, message) -> None:
    with pytest.raises(InputError, match=message):
        loss_classes(OmegaConf.create({"mine": node}))


def test_no_mapping_of_losses() -> None:
    with pytest.raises(InputError, match="losses must be a mapping of names to losses, got None"):
        loss_classes(None)
