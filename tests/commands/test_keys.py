"""Mistyped keys and options are answered with what was meant, through the commands themselves."""

from __future__ import annotations

from importlib import import_module

import pytest

from opsnet.commands import evaluate, predict, train
from opsnet.commands.keys import check_new_keys
from opsnet.utils.errors import InputError

PREDICT = ["checkpoint=a.ckpt", "image=a.png", "vocabulary=a"]


def error(command, module, *arguments: str) -> str:
    code, text = command(module.main, *arguments)
    assert code == 2, text
    assert "Traceback" not in text
    (line,) = text.strip().splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["threshold=0.9"], "there is no key 'threshold': did you mean filtering.threshold?"),
        (["--threshold", "0.9"], "there is no key 'threshold': did you mean filtering.threshold?"),
        (["vocabluary=a"], "did you mean vocabulary"),
        (["filtering.treshold=0.9"], "did you mean filtering.threshold?"),
        (["alpha=3"], "did you mean modulation.alpha?"),
        (["+threshold=0.9"], "there is no key 'threshold': did you mean filtering.threshold?"),
        (["++threshold=0.9"], "there is no key 'threshold': did you mean filtering.threshold?"),
        (["modulation=ful"], "there is no modulation=ful: did you mean full?"),
        (["filtering=clsiou"], "there is no filtering=clsiou: did you mean cls_iou"),
        (["vocab=a, b"], "there is no key 'vocab': did you mean vocabulary?"),
        (["device=a, b"], "device is one value, not a, b: give device=[a, b] for a list, \"device='a, b'\" for a text"),
        (["clip=/my/clip.json"], "clip=/my/clip.json: the file of a CLIP is given as clip_model=/my/clip.json"),
        (["clip=/my/clip"], "there is no clip=/my/clip; there is convnext_base_w_320"),
    ],
)
def test_predict(arguments, expected, command) -> None:
    line = error(command, predict, *PREDICT, *arguments)
    assert expected in line
    assert "+threshold" not in line.replace("error: +threshold", "").replace("error: ++threshold", "")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["experiment=scens"], "there is no experiment=scens: did you mean scenes"),
        (["experiment=scenes", "learning_rate=1"], "there is no key 'learning_rate'"),
        (["experiment=scenes", "lr=1"], "did you mean optim.optimizer.lr"),
        (["experiment=scenes", "+lr=1"], "did you mean optim.optimizer.lr"),
        (["experiment=scenes", "+data.modul.batch_size=1"], "there is no key 'data.modul'"),
        (["experiment=scenes", "+probes.domain=[a]"], "did you mean probes.domains"),
        (["-m", "experiment=scenes,camvid", "max_epochs=1"], "did you mean optim.max_epochs or trainer.max_epochs"),
        (["experiment=scenes", "experiment_name=glob(*"], "glob("),
        (["experiment=scenes", "optim.max_epochs=a b=(c"], "the value of optim.max_epochs cannot be read"),
    ],
)
def test_train(arguments, expected, command) -> None:
    if "glob" in expected:  # a text: read as typed, so the command goes on to what is missing
        arguments = [*arguments, "seeed=1"]
        expected = "did you mean seed"
    assert expected in error(command, train, *arguments)


def test_a_missing_key_is_named(command) -> None:
    assert "image is missing: give image=" in error(command, predict, "checkpoint=a.ckpt", "vocabulary=a")


def test_an_argument_that_a_class_does_not_have(command, tmp_path) -> None:
    from opsnet.commands.run_command import run_command

    def build(cfg) -> None:
        from hydra.utils import instantiate

        instantiate(cfg.modulation)

    def main() -> None:
        run_command("evaluate", build, help=evaluate.HELP)

    code, text = command(main, f"hydra.run.dir={tmp_path}", "modulation=full", "+modulation.gamma=3")
    assert (code, text) == (
        2, "error: +modulation.gamma=3: the class of modulation has no argument 'gamma': leave it out\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command_name", "arguments"),
    [
        ("train", ["+trainer.num_nodes=4", "+losses.mine={_target_: a.B, weight: 1}", "+optim.scheduler.warmup=1"]),
        ("train", ["+backbone.model_args.drop_path_rate=0.1", "+data.module.train.limit=3", "+hydra.job.chdir=true"]),
        ("train", ["data=camvid", "+data.test.limit=2", "++seed=3"]),
        ("train", ["experiment=scenes", "+filters.cls.threshold=0.2"]),
        ("predict", ["+model.pixel_decoder.layers=1", "+clip.model.architecture.config=a.json"]),
        ("evaluate", ["+trainer=scenes", "backbone=r50", "+backbone.weights=a"]),
    ],
)
def test_keys_that_are_passed_on_stay_possible(command_name, arguments) -> None:
    check_new_keys(command_name, arguments)


@pytest.mark.parametrize("name", ["predict", "evaluate", "export", "demo", "doctor", "train", "train_clip"])
def test_no_command_takes_a_new_key_that_nothing_reads(name) -> None:
    with pytest.raises(InputError, match=f"no key 'treshold'.*opsnet-{name.replace('_', '-')} --help"):
        check_new_keys(name, ["+treshold=0.9"])


def test_new_keys_of_a_folder_of_ones_own_are_known(tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.yaml").write_text("x: 1\n")
    check_new_keys("train", ["--config-dir", str(tmp_path), "+mine=a"])
    with pytest.raises(InputError, match="no key 'mine'"):
        check_new_keys("train", ["+mine=a"])


@pytest.mark.parametrize("name", ["train", "evaluate", "predict", "export"])
def test_without_arguments_a_command_says_what_it_needs(name, command) -> None:
    module = import_module(f"opsnet.commands.{name}")
    code, text = command(module.main)
    assert code == 2
    *shown, last = text.strip().splitlines()
    assert last == f"error: {module.HELP.ask} ({module.HELP.name} --help has more)"
    assert shown[0].startswith(module.HELP.name)
    assert any(module.HELP.examples[0][1] in line for line in shown)
