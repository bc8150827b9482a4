"""Reading a checkpoint: invalid ones and those of another CLIP are refused."""

from __future__ import annotations

import logging

import pytest
import torch

from opsnet.checkpoint.reading import check_clip_hash, read_checkpoint
from opsnet.utils.errors import CheckpointError

QUICK, PLAIN = "0123456789ab-aaaaaa", "0123456789ab-bbbbbb"  # equal weights in two architectures


@pytest.mark.parametrize("checkpoint", [{}, {"opsnet": {}}, {"opsnet": {"clip_hash": "0123456789ab"}}])
def test_another_clip_is_refused_with_both_hashes(checkpoint) -> None:
    trained_with = str(checkpoint.get("opsnet", {}).get("clip_hash"))
    with pytest.raises(
        CheckpointError, match=f"mine was trained with CLIP weights {trained_with}, .* is abc: give key="
    ):
        check_clip_hash(checkpoint, "abc", "mine", key="key")
    check_clip_hash({"opsnet": {"clip_hash": "abc"}}, "abc", "mine")


def test_equal_weights_in_another_architecture_are_another_clip() -> None:
    check_clip_hash({"opsnet": {"clip_hash": QUICK}}, QUICK, "mine")
    fix = r"mine was trained with the same CLIP weights in another architecture .* RN50-quickgelu"
    with pytest.raises(CheckpointError, match=fix):
        check_clip_hash({"opsnet": {"clip_hash": PLAIN}}, QUICK, "mine")


def test_a_checkpoint_of_earlier_versions_is_accepted_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check_clip_hash({"opsnet": {"clip_hash": QUICK.partition("-")[0]}}, QUICK, "mine")
    assert "mine has only the hash of CLIP's weights" in caplog.text
    with pytest.raises(CheckpointError, match="mine was trained with CLIP weights ba9876543210"):
        check_clip_hash({"opsnet": {"clip_hash": "ba9876543210"}}, QUICK, "mine")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "is not an OPSNet checkpoint"),
        ({"opsnet": {}}, r"is not an OPSNet checkpoint \(KeyError\)"),  # no state_dict
        ({"state_dict": {}}, r"is not an OPSNet checkpoint \(KeyError\)"),
        ({"opsnet": [], "state_dict": {}}, "is not an OPSNet checkpoint"),
        ({"opsnet": {}, "state_dict": [1]}, "is not an OPSNet checkpoint"),
        ({"opsnet": {}, "state_dict": {"model.a": 3}}, "model.a is a int, not a weight"),
        (
            {"opsnet": {}, "state_dict": {"model.a": torch.tensor([1.0, float("nan")])}},
            "model.a contains NaN or infinity",
        ),
        ({"opsnet": {}, "state_dict": {"model.a": torch.tensor(float("inf"))}}, "model.a contains NaN or infinity"),
    ],
)
def test_what_is_no_checkpoint_is_refused_by_name(content, message: str, tmp_path) -> None:
    torch.save(content, tmp_path / "some.ckpt")
    with pytest.raises(CheckpointError, match=rf"some\.ckpt.*{message}"):
        read_checkpoint(tmp_path / "some.ckpt")
