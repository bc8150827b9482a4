"""Stored configurations of a stranger, in a checkpoint or a saved folder, from which a network is built.

A real configuration is changed at random: names, targets, values, nesting, interpolations, paths, types and sizes. Its
weights, and those of its CLIP, are the real ones.
"""

from __future__ import annotations

import copy
import json
import os
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from opsnet.checkpoint.allowed_targets import ALLOWED_TARGETS
from opsnet.checkpoint.content import portable_config
from opsnet.checkpoint.folder import read, save
from opsnet.checkpoint.loading import load_checkpoint
from opsnet.checkpoint.stored_network import build_model
from opsnet.clip.loading import load_clip
from opsnet.clip.tiny import tiny_clip
from opsnet.utils.files import checksum
from opsnet.vocabulary import Vocabulary

NAMES = ("its configuration", "checkpoint", "CLIP", "backbone")
SECRET = "fuzz-secret-0451"
"""Value of an environment variable that must not appear anywhere."""
CANARY, CLIP = "CANARY", "clip.pt"
"""Placeholders: a path at which nothing may be written or read, and the real CLIP."""
EXACT = sorted({target for place in ALLOWED_TARGETS.values() for target in place.targets})
SHELL = {"_target_": "os.system", "command": f"touch {CANARY}"}
HOSTILE: list[Any] = [
    "os.system", "builtins.eval", "builtins.open", "torch.utils.collect_env.run", "torch.load", "subprocess.run",
    "opsnet.clip.loading.Path.write_text", "opsnet.model.torch.load", "opsnet.model.OPSNet.to", "open_clip.os",
    "open_clip.create_model.__globals__", "opsnet.clip.tiny.tiny_clip ", "opsnet.checkpoint.folder.save",
    "${oc.env:FUZZ_SECRET}", "a ${oc.env:FUZZ_SECRET} b", "${oc.decode:${oc.env:FUZZ_SECRET}}", "${x}",
    f"${{oc.create:{{_target_: os.system, command: touch {CANARY}}}}}", "${.weights}", "$${x}",
    "/etc/passwd", "../up", "~/.ssh/id", CANARY, f"{CANARY}.pickle", "file:///etc/passwd", "http://host.invalid/x",
    "//host.invalid/share", "hf-hub:a/b", "local-dir:/x", "\\\\host\\x", "con", ".", "..", "", " ", "a" * 20_000,
    "\x1b[2J", "a\nerror: b", "\ud800", "\0", "nan", "None", "{}", "{} {0.__class__}",
    SHELL, [SHELL], {"a": {"b": [SHELL]}}, {**SHELL, "_partial_": True}, {"_target_": "builtins.exec", "_args_": ["1"]},
    {"_target_": "pathlib.Path.write_text", "self": CANARY, "data": "x"},
    {"_target_": "torch.load", "f": CANARY, "weights_only": False}, {"_target_": "builtins.open", "file": CANARY},
    {"_target_": "open_clip.create_model", "_partial_": True, "model_name": "ViT-bigG-14"},
    {"_target_": "open_clip.get_tokenizer", "model_name": "xlm-roberta-base-ViT-B-32"},
    {"_partial_": True, "_target_": "pathlib.Path"}, {"_args_": [1]}, {"_recursive_": False}, {"__class__": "x"},
    {"_target_": "opsnet.segmenter.backbone.Backbone", "name": "vit_giant_patch14_224"},
    {"_target_": "opsnet.segmenter.backbone.Backbone", "name": "swin_large_patch4_window12_384"},
    0, -1, 1, 7, 10**3, 10**5, 10**9, 10**18, 10**400, 0.5, 1e9, -1e300, float("nan"), float("inf"), None, True, False,
    [], {}, [[]], [1, 2], ["x"] * 50, {"a": 1}, list(range(1000)), b"bytes", {1, 2}, 1j,
]  # fmt: skip
"""Values of every kind that a network, a file or a terminal should not meet."""


class Escaped(AssertionError):
    """A configuration wrote a file, or its message or copy has a secret."""


@dataclass(frozen=True)
class StoredCase:
    """An input.

    Attributes:
        config: the configuration.
        is_folder: whether it is in a folder of ``save_pretrained``, else in a checkpoint.
        settings: those of the folder.
    """

    config: Any
    is_folder: bool
    settings: Any


@dataclass(frozen=True)
class Real:
    """A configuration with the weights of its network, and the CLIP that they were trained with."""

    config: dict[str, Any]
    weights: dict[str, torch.Tensor]
    clip: dict[str, torch.Tensor]
    clip_hash: str


@cache
def real() -> Real:
    """The smallest network that a training of the miniature could store, untrained."""
    torch.manual_seed(0)
    architecture = {"embed_dim": 16, "width": 4, "heads": 2, "text_width": 8, "text_layers": 1}
    clip = load_clip(architecture=lambda: tiny_clip(**architecture), weights="random")
    config = stored_config("world=scenes", "clip.model.weights=random")
    config["clip"]["model"]["architecture"] |= architecture
    config["backbone"]["model_args"] |= {"channels": [8, 8, 8, 8], "stem_width": 4}
    config["model"]["pixel_decoder"] |= {"dim": 16, "mask_dim": 8, "hidden": 16, "fine_dim": 8, "heads": 2}
    config["model"]["query_decoder"] |= {"dim": 16, "mask_dim": 8, "hidden": 16, "heads": 2, "layers": 1, "queries": 8}
    model = build_model(config, "the real one", clip_model=clip)
    weights = {key: value for key, value in model.state_dict().items() if not key.startswith("clip.")}
    config["clip"]["model"]["weights"] = CLIP
    return Real(config, weights, clip.state_dict(), model.clip.weights_hash)


def stored_config(*overrides: str) -> dict[str, Any]:
    """The configuration that a training with these options stores."""
    from hydra import compose, initialize_config_dir

    from opsnet.utils.configuration import config_dir

    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = compose("train", ["paths.data=/data", "paths.cache=/cache", "paths.runs=/runs", *overrides])
    return portable_config(cfg, Vocabulary.from_names(["cat", "sky, clouds"]))


@cache
def _other() -> dict[str, Any]:
    """A configuration of full size, whose weights the real ones are not."""
    return {**stored_config("world=real"), "clip": copy.deepcopy(real().config["clip"])}


def case(seed: int) -> StoredCase:
    """A configuration with one to three changes; sometimes the settings of the folder are changed."""
    draw = random.Random(seed)
    config = copy.deepcopy(_other() if draw.random() < 0.2 else real().config)
    settings: dict[str, Any] = {"overlap": 0.5, "semantic": "proposals", "filtering": {"kind": "cls", "threshold": 0.2}}
    for _ in range(draw.randint(1, 3)):
        damage(settings if draw.random() < 0.1 else config, draw)
    if draw.random() < 0.02:
        config = draw.choice(HOSTILE)
    if draw.random() < 0.03 and isinstance(config, dict):
        config["more"] = _tower(draw)
    return StoredCase(config, draw.random() < 0.5, settings)


def _tower(draw: random.Random) -> Any:
    """A deep value, or one that contains another many times."""
    value: Any = 0
    wide = draw.random() < 0.5
    for _ in range(30 if wide else draw.choice((20, 200))):
        value = [value, value] if wide else draw.choice(([value], {"a": value}))
    return value


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [p for key, item in items for p in places(item, (*path, key))]


def at(config: Any, path: tuple[Any, ...]) -> Any:
    """The value at a path."""
    for part in path:
        config = config[part]
    return config


def damage(config: dict[str, Any], draw: random.Random) -> None:
    """Changes, adds, wraps, moves or removes a value somewhere."""
    below = [p for p in places({k: v for k, v in config.items() if k != "vocabulary" or draw.random() < 0.1}) if p]
    if not below:
        return
    path, hostile = draw.choice(below), copy.deepcopy(draw.choice(HOSTILE))
    parent, key = at(config, path[:-1]), path[-1]
    targets = [p for p in below if p[-1] == "_target_" and isinstance(at(config, p), str)]
    how = draw.choice(("set", "set", "scale", "target", "add", "special", "wrap", "move", "remove"))
    if how == "set":
        parent[key] = hostile
    elif how == "scale" and type(parent[key]) in (int, float):
        parent[key] = parent[key] * draw.choice((-1, 0, 2, 3, 10, 1000, 10**6, 10**12, 0.5))
    elif how == "target" and targets:
        target = at(config, (found := draw.choice(targets))[:-1])
        target["_target_"] = draw.choice((hostile, draw.choice(EXACT), f"{at(config, found)}.os"))
    elif how == "add" and isinstance(parent[key], dict):
        parent[key][draw.choice(("weights", "more", "cache_dir", "pretrained", "data", "checkpoint_path"))] = hostile
    elif how == "special" and isinstance(parent[key], dict):
        special = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_", "_x", "${x}", "a\x1b[2J")
        parent[key][draw.choice(special)] = hostile
    elif how == "wrap":
        parent[key] = draw.choice(([parent[key]], {"a": parent[key]}))
    elif how == "move":
        parent[key] = copy.deepcopy(at(config, draw.choice(below)))
    elif how == "remove" and isinstance(parent, dict):
        del parent[key]


def run(given: StoredCase, folder: Path) -> None:
    """Loads the network as every command does, and saves it again.

    Raises:
        InputError: it is refused.
        Escaped: something else happened.
    """
    os.environ["FUZZ_SECRET"] = SECRET
    canary = folder / "canary"
    real_clip = folder / CLIP
    torch.save(real().clip, real_clip)
    config = _placed(given.config, {CANARY: str(canary), CLIP: str(real_clip)})
    about = {"clip_hash": real().clip_hash, "config": config}
    try:
        if given.is_folder:
            trained = read(_folder(folder / "saved", about, given.settings), device="cpu")
        else:
            weights = {f"model.{key}": value for key, value in real().weights.items()}
            torch.save({"state_dict": weights, "opsnet": about}, folder / "some.ckpt")
            trained = load_checkpoint(folder / "some.ckpt", device="cpu")
        save(trained, folder / "again", settings=trained.inference, recognizer=trained.recognizer)
        if SECRET in (folder / "again" / "config.json").read_text():
            raise Escaped("the secret was saved")
    except Escaped:
        raise
    except Exception as error:
        if SECRET in f"{error} {error.__cause__} {error.__context__}":
            raise Escaped("the secret is in the message") from error
        raise
    finally:
        if list(folder.glob("canary*")):
            raise Escaped("something ran or wrote")


def _placed(value: Any, paths: dict[str, str]) -> Any:
    """The value with paths for placeholders; values that other values share stay shared."""
    done: dict[int, Any] = {}

    def replaced(part: Any) -> Any:
        if isinstance(part, str):
            for placeholder, path in paths.items():
                part = part.replace(placeholder, path)
            return part
        if not isinstance(part, (dict, list)):
            return part
        if id(part) not in done:
            items = part.items() if isinstance(part, dict) else part
            done[id(part)] = (
                {key: replaced(item) for key, item in items} if isinstance(part, dict) else [replaced(i) for i in items]
            )
        return done[id(part)]

    return replaced(value)


def _folder(folder: Path, about: dict[str, Any], settings: Any) -> Path:
    """A folder of ``save_pretrained``; values that json has not, or that contain others too often, become null."""
    from safetensors.torch import save_file

    folder.mkdir()
    save_file({key: value.contiguous() for key, value in real().weights.items()}, folder / "model.safetensors")
    content = {**about, "sha256": {"model.safetensors": checksum(folder / "model.safetensors")}, "settings": settings}
    if isinstance(content["config"], dict):
        content["config"] = {key: value for key, value in content["config"].items() if key != "more"}
    (folder / "config.json").write_text(json.dumps({"opsnet": content}, default=lambda value: None))
    return folder
