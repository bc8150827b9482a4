"""Untrusted configurations: allowed ones, refused ones with key and value, and thousands of random mutations."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from attacks import ATTACKS, custom_clip

from opsnet.checkpoint.allowed_targets import ALLOWED_TARGETS, TRUSTED
from opsnet.checkpoint.content import portable_config
from opsnet.checkpoint.stored_config import check_config, check_inference
from opsnet.checkpoint.stored_network import build_model
from opsnet.utils.configuration import options
from opsnet.utils.errors import CheckpointError
from opsnet.vocabulary import Vocabulary
from scripts.fuzz.stored_configs import damage


@pytest.mark.parametrize("name", ATTACKS)
def test_the_refusal_names_the_key_and_the_value(name: str, attacked, canary) -> None:
    attack = ATTACKS[name]
    with pytest.raises(CheckpointError) as caught:
        check_config(attacked(attack), "mine.ckpt")
    message = str(caught.value)
    assert message.startswith(f"mine.ckpt: its configuration has {attack.key} = ")
    assert attack.named.replace("CANARY", str(canary))[:60] in message
    assert not canary.exists()


@pytest.mark.parametrize("backbone", options("backbone"))
def test_what_trainings_store_is_admitted(backbone: str, compose) -> None:
    for model, clip in (("mask2former", "rn50"), ("scenes", "tiny")):
        cfg = compose("train", f"backbone={backbone}", f"model={model}", f"clip={clip}")
        stored = portable_config(cfg, Vocabulary.load("scenes"), Vocabulary.load("scenes_labels"))
        checked = check_config(stored, "mine")
        stored["clip"].setdefault("text_cache", None)
        assert checked == stored


@pytest.mark.parametrize("modulation", [name for name in options("modulation") if name != "trained"])
def test_every_recognizer_of_the_listing_is_admitted(modulation: str, compose) -> None:
    cfg = compose("train", "world=real", f"modulation={modulation}")
    assert check_config(portable_config(cfg, Vocabulary.load("coco")), "mine")["inference"]["recognizer"]["_target_"]


def test_a_clip_by_its_own_configuration_is_admitted(stored) -> None:
    config = copy.deepcopy(stored)
    config["backbone"] = {"_target_": "opsnet.clip.shared_backbone.SharedClipBackbone", "levels": [1, 2, 3, 4]}
    config["clip"]["model"]["architecture"] = custom_clip()
    checked = check_config(config, "mine")
    assert checked["clip"]["model"]["architecture"] == custom_clip()
    assert build_model(config, "mine").backbone.channels == (24, 32, 48, 64)


@pytest.mark.parametrize("key", [key for key in ALLOWED_TARGETS if key[0] != "inference"])
def test_what_a_network_needs_is_asked_for(key: tuple[str, ...], stored) -> None:
    config = copy.deepcopy(stored)
    node = config
    for part in key[:-1]:
        node = node[part]
    del node[key[-1]]
    with pytest.raises(CheckpointError, match=rf"has {key[0]}.* = None: "):
        check_config(config, "mine")


@pytest.mark.parametrize("config", [None, 3, [], "", {}, {"model": {}}, {1: 2}, {"model": object()}])
def test_what_is_no_configuration(config: Any) -> None:
    with pytest.raises(CheckpointError, match="mine: its configuration "):
        check_config(config, "mine")


def test_one_that_holds_itself_or_another_many_times_ends(stored) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(CheckpointError, match="nested too deep or too large"):
        check_config({**stored, "more": endless}, "mine")
    wide: list[Any] = [0] * 10
    for _ in range(20):
        wide = [wide] * 10
    with pytest.raises(CheckpointError, match="nested too deep or too large"):
        check_config({**stored, "more": wide}, "mine")


def test_where_text_embeddings_are_cached_is_not_the_checkpoints_to_say(stored) -> None:
    for given, kept in (("/home/other/cache", True), (True, True), (None, None), (False, None)):
        config = copy.deepcopy(stored)
        config["clip"]["text_cache"] = given
        assert check_config(config, "mine")["clip"]["text_cache"] is kept


def test_a_class_of_the_users_own_has_to_be_named(stored, monkeypatch) -> None:
    config = copy.deepcopy(stored)
    config["backbone"] = {"_target_": "collections.Counter", "size": 3}
    with pytest.raises(CheckpointError, match=f"list your own classes in {TRUSTED}"):
        check_config(config, "mine")
    monkeypatch.setenv(TRUSTED, "some.Thing, collections.Counter")
    assert check_config(config, "mine")["backbone"]["size"] == 3
    config["backbone"]["size"] = "../file"
    with pytest.raises(CheckpointError, match=r"backbone\.size = '\.\./file': a word is expected"):
        check_config(config, "mine")
    config["backbone"] = {"_target_": "some.Thing"}
    with pytest.raises(CheckpointError, match=r"'some\.Thing' cannot be imported"):
        check_config(config, "mine")


def test_how_a_network_is_used_is_checked_alone_too() -> None:
    with pytest.raises(CheckpointError, match=r"mine: its configuration has inference\.surprise = 1"):
        check_inference({"surprise": 1}, "mine")
    with pytest.raises(CheckpointError, match=r"inference\.recognizer\._target_ = 'os\.system'"):
        check_inference({"recognizer": {"_target_": "os.system"}}, "mine")
    with pytest.raises(CheckpointError, match=r"inference\.semantic = 'masks': it must be panoptic or proposals"):
        check_inference({"semantic": "masks"}, "mine")
    assert check_inference({"semantic": "proposals"}, "mine") == {"semantic": "proposals"}


# --- thousands of damaged ones ----------------------------------------------------------------------------------------


def outside(value: Any, path: tuple[str, ...] = ()) -> list[tuple]:
    """Targets that are not in the exact set allowed under their key; independent of the code under test."""
    found = []
    if isinstance(value, dict):
        for key, item in value.items():
            own = (*path, key)
            special = type(key) is str and key.startswith("_")
            if (
                type(key) is not str
                or "${" in key
                or (special and path not in ALLOWED_TARGETS)
                or (
                    special
                    and not (
                        (key == "_target_" and item in ALLOWED_TARGETS[path].targets)
                        or (key == "_partial_" and item is ALLOWED_TARGETS[path].partial)
                        or (key == "_convert_" and item in ("none", "partial", "object", "all"))
                    )
                )
            ):
                found.append(own)
            found += outside(item, own)
    elif isinstance(value, list):
        found += [f for i, item in enumerate(value) for f in outside(item, (*path, str(i)))]
    elif isinstance(value, str):
        built = path[0] in ("model", "backbone", "clip", "inference") and not {"text_cache", "hint"} & {*path}
        mine = path[:2] == ("clip", "templates") or path == ("clip", "model", "weights")
        if "${" in value or (built and not mine and any(sign in value for sign in "/\\:~ ")):
            found.append(path)
    elif value is not None and not isinstance(value, (bool, int, float)):
        found.append(path)
    return found


def test_nothing_outside_the_set_passes_in_two_thousand_damaged_configurations(stored, compose) -> None:
    draw = random.Random(0)
    real = portable_config(compose("train", "world=real"), Vocabulary.from_names(["a", "b"]))
    passed = refused = 0
    for number in range(2000):
        config = copy.deepcopy((stored, real)[number % 2])
        for _ in range(draw.randint(1, 3)):
            damage(config, draw)
        try:
            checked = check_config(config, "mine")
        except CheckpointError as error:
            refused += 1
            assert str(error).startswith("mine: its configuration ")
        else:
            passed += 1
            assert outside(config) == []
            assert outside(checked) == []
    assert refused > 1000
    assert passed > 100  # numbers, names and lists may be anything
