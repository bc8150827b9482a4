"""The weights that a training starts from, and their CLIP, are found before anything is loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from opsnet.training.initial import with_initial_clip
from opsnet.utils.errors import CheckpointError


@pytest.fixture
def config(compose, tmp_path: Path):
    """Arguments -> the configuration of a training whose data folder has no CLIP."""
    return lambda *overrides: compose("train", f"output={tmp_path}", f"paths.data={tmp_path / 'moved'}", *overrides)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The part of a checkpoint that says where its CLIP was."""
    folder = tmp_path_factory.mktemp("old data")
    (folder / "tiny.pt").touch()
    path = folder / "last.ckpt"
    torch.save({"opsnet": {"config": {"clip": {"model": {"weights": str(folder / "tiny.pt")}}}}}, path)
    return path


def test_the_clip_of_the_earlier_training_is_taken_if_the_data_folder_has_moved(config, checkpoint) -> None:
    cfg = with_initial_clip(config(f"init_from='{checkpoint}'"))
    assert cfg.clip.model.weights == str(checkpoint.with_name("tiny.pt"))
    assert cfg.clip.model.hint  # the rest stays


def test_the_configured_clip_comes_first(config, checkpoint, tmp_path) -> None:
    (tmp_path / "moved" / "clip").mkdir(parents=True)
    (tmp_path / "moved" / "clip" / "tiny.pt").touch()
    cfg = with_initial_clip(config(f"init_from='{checkpoint}'"))
    assert cfg.clip.model.weights == str(tmp_path / "moved" / "clip" / "tiny.pt")


def test_without_either_no_new_clip_is_advised(config, checkpoint, tmp_path) -> None:
    shutil.copy(checkpoint, tmp_path / "last.ckpt")
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    content["opsnet"]["config"]["clip"]["model"]["weights"] = "/gone/tiny.pt"
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError) as error:
        with_initial_clip(config(f"init_from={tmp_path / 'last.ckpt'}"))
    assert "neither at " in str(error.value)
    assert "nor at /gone/tiny.pt: give clip.model.weights=PATH" in str(error.value)
    assert "opsnet-train-clip" not in str(error.value)


@pytest.mark.parametrize("more", [[], ["clip=rn50"], ["clip.model.weights=random"]])
def test_without_init_from_or_with_clips_own_weights_nothing_changes(config, checkpoint, more) -> None:
    given = [f"init_from='{checkpoint}'", *more] if more else []
    assert with_initial_clip(config(*given)) == config(*given)


def test_a_missing_checkpoint_mentions_published_weights(config) -> None:
    with pytest.raises(CheckpointError, match=r"no.ckpt \(init_from\) does not exist.*published weights"):
        with_initial_clip(config("init_from=no.ckpt"))
