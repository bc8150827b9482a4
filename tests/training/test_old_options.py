"""Options of earlier versions: commands state their replacements."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf

from opsnet.commands import doctor, evaluate, predict, train
from opsnet.training.old_options import _GROUP, _KEYS, refuse_old_keys, refuse_old_options
from opsnet.training.run import train as run_training
from opsnet.utils.errors import InputError

MINIATURE = " (losses=scenes in the miniature)"
SENTENCES = {
    "supervision=masks": f"the group was renamed: give losses=mask2former{MINIATURE}",
    "supervision=scenes_cls": "the group was renamed: give losses=scenes image_labels=cls",
    "supervision=real_cls_masksum":
        f"the group was renamed: give losses=mask2former image_labels=cls_masksum{MINIATURE}",
    "++supervision.iou_weight=10": "the key was renamed: it is losses.iou.weight now",
    "image_labels.criterion.form=log": "the key was renamed: it is losses.image_label_matching.form now",
    "distillation=1.0": "the key was renamed: it is losses.distillation.weight now",
}  # fmt: skip


@pytest.mark.parametrize("argument", SENTENCES)
@pytest.mark.parametrize("main", [train.main, doctor.main])
def test_commands_state_the_replacement(main, argument, command) -> None:
    assert command(main, argument) == (2, f"error: {argument}: {SENTENCES[argument]}\n")


@pytest.mark.parametrize("main", [evaluate.main, predict.main])
def test_the_old_name_of_treat_label_names_as_seen(main, command) -> None:
    sentence = "error: label_names_known=true: the key was renamed: it is treat_label_names_as_seen now\n"
    assert command(main, "label_names_known=true") == (2, sentence)


def test_every_new_option_exists(compose) -> None:
    cfg = compose("train", "image_labels=cls_masksum", "output=a")
    for place in _KEYS.values():
        for key in place.replace("(", "").split(" "):
            assert "." not in key or OmegaConf.select(cfg, key, default="missing") != "missing"
    for options in _GROUP.values():
        assert "mask_sum" in compose("train", *options.split(), "image_labels=cls_masksum", "output=a").losses


def test_in_a_users_experiment(command, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [{override /supervision: masks}]\n"
    )
    code, error = command(train.main, f"--config-dir={tmp_path}", "experiment=mine")
    assert (code, error.count("\n")) == (2, 1)
    assert "`override /supervision` in a yaml: the group was renamed: /losses is mask2former or scenes" in error


@pytest.mark.parametrize("key", ["supervision", "distillation", "image_labels"])
def test_an_old_key_in_a_yaml(key, train_config, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"`{key}` in a yaml of the training has no effect: it is losses"):
        run_training(train_config(tmp_path / "run", f"++{key}=1.0" if key != "image_labels" else "++image_labels.a=1"))


def test_other_options_and_errors_pass() -> None:
    refuse_old_keys({"losses": {}})
    with pytest.raises(HydraException, match="other"), refuse_old_options(["losses=scenes", "-m", "image_labels=cls"]):
        raise HydraException("other")
