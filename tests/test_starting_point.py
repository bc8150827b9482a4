"""Where a training starts: which run goes on, whose weights are taken, and every file that is refused."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

from opsnet.errors import CheckpointError
from opsnet.starting_point import check_resume, find_resume, load_initial_weights
from opsnet.train import build_module, train
from opsnet.vocabulary import Vocabulary


def make_run(folder: Path, seed: int, *, finished: bool = False, age: float = 0) -> Path:
    """A run's folder with an empty checkpoint, ``age`` seconds old."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text(f"seed: {seed}\n")
    checkpoint = folder / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    os.utime(checkpoint, (time.time() - age,) * 2)
    if finished:
        (folder / "results.json").write_text("{}")
    return checkpoint


def test_auto_takes_the_newest_unfinished_run_of_the_same_seed(train_config, tmp_path) -> None:
    config = train_config(tmp_path / "new", "resume=auto", "experiment_name=mine", "seed=3", f"paths.runs={tmp_path}")
    assert find_resume(config) is None
    make_run(tmp_path / "mine" / "finished", 3, finished=True)
    make_run(tmp_path / "mine" / "other_seed", 4)
    make_run(tmp_path / "other" / "run", 3)
    assert find_resume(config) is None
    old = make_run(tmp_path / "mine" / "z_old", 3, age=100)
    assert find_resume(config) == old
    new = make_run(tmp_path / "mine" / "a_new", 3, age=50)
    assert find_resume(config) == new
    own = make_run(tmp_path / "new", 3, age=1000)
    assert find_resume(config) == own
    config.resume = None
    assert find_resume(config) is None


def test_a_missing_checkpoint_is_refused_before_anything_is_written(train_config, tmp_path) -> None:
    config = train_config(tmp_path / "run", f"resume={tmp_path / 'no.ckpt'}")
    with pytest.raises(CheckpointError, match=rf"{tmp_path / 'no.ckpt'} \(resume\) does not exist: .*resume=auto"):
        train(config)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_clip_is_refused_before_training(trained, train_config, world, tmp_path) -> None:
    config = train_config(
        tmp_path / "run", f"resume={trained.checkpoint}", f"clip.model.weights={world.other_clip}"
    )  # fmt: skip
    with pytest.raises(CheckpointError, match=rf"{trained.checkpoint} was trained with CLIP weights \w{{12}}-\w{{6}},"):
        train(config)
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_a_file_that_is_no_checkpoint_is_refused_by_name(train_config, tmp_path) -> None:
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match=r"text\.ckpt \(resume\) is not a checkpoint"):
        train(train_config(tmp_path / "run", f"resume={tmp_path / 'text.ckpt'}"))


def test_a_checkpoint_of_other_data_is_refused(trained) -> None:
    checkpoint = torch.load(trained.checkpoint, weights_only=True)
    check_resume(trained.checkpoint, checkpoint["opsnet"]["clip_hash"], streams=1)
    with pytest.raises(CheckpointError, match=r"last\.ckpt \(resume\) was trained on 1 streams of pictures, and data "):
        check_resume(trained.checkpoint, checkpoint["opsnet"]["clip_hash"], streams=2)


# --- init_from --------------------------------------------------------------------------------------------------------


@pytest.fixture
def build(train_config, tmp_path):
    def built(*overrides: str):
        return build_module(train_config(tmp_path / "run", *overrides), Vocabulary.load("scenes")).model

    return built


def test_the_weights_are_those_of_the_checkpoint(build, trained) -> None:
    model = build(f"init_from={trained.checkpoint}")
    state, own = torch.load(trained.checkpoint, weights_only=True)["state_dict"], model.state_dict()
    assert all(torch.equal(own[k.removeprefix("model.")], v) for k, v in state.items() if k.startswith("model."))
    fresh = build()
    assert not torch.equal(fresh.void_embed, model.void_embed)
    load_initial_weights(fresh, trained.checkpoint)
    assert torch.equal(fresh.void_embed, model.void_embed)


def test_weights_that_a_network_would_start_from_are_not_asked_for(build, trained, tmp_path) -> None:
    build(f"init_from={trained.checkpoint}", f"model.weights={tmp_path / 'no.safetensors'}")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["init_from=no.ckpt"], r"checkpoint no\.ckpt \(init_from\) does not exist"),
        (["init_from={text}"], r"text\.ckpt \(init_from\) is not a checkpoint"),
        (["init_from={trained}", "clip.model.weights={other}"], r"\(init_from\) was trained with CLIP weights"),
        (
            ["init_from={trained}", "model.query_decoder.queries=9"],
            r"another network \(2 weights differ, the first is q",
        ),
        (["init_from={trained}", "model.query_decoder.layers=2"], r"another network .* the first is query_decoder\."),
    ],
)
def test_what_cannot_be_started_from_is_named(overrides, message, build, trained, world, tmp_path) -> None:
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    places = {"trained": trained.checkpoint, "other": world.other_clip, "text": tmp_path / "text.ckpt"}
    with pytest.raises(CheckpointError, match=message):
        build(*(o.format(**places) for o in overrides))
