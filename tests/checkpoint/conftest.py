"""A stored configuration, and files with an attack in it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attacks import CANARY, Attack
from safetensors.torch import save_file

from opsnet.utils.files import checksum


@pytest.fixture(scope="session")
def stored(compose) -> dict[str, Any]:
    """The configuration that a training of the miniature stores."""
    from opsnet.checkpoint.content import portable_config
    from opsnet.vocabulary import Vocabulary

    return portable_config(compose("train", "world=scenes", "clip.model.weights=random"), Vocabulary.load("scenes"))


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture
def attacked(stored, canary) -> Callable[[Attack], dict[str, Any]]:
    """An attack -> the configuration with it, with the canary of this test."""

    def make(attack: Attack) -> dict[str, Any]:
        config = copy.deepcopy(stored)
        node = config
        for part in attack.place[:-1]:
            node = node.setdefault(part, {})
        node[attack.place[-1]] = attack.value
        return json.loads(json.dumps(config).replace(CANARY, str(canary)))

    return make


@pytest.fixture
def planted(attacked, tmp_path: Path) -> Callable[[Attack], tuple[Path, Path]]:
    """An attack -> a checkpoint and a folder of save_pretrained with it, otherwise valid including their weights."""

    def make(attack: Attack) -> tuple[Path, Path]:
        config = attacked(attack)
        folder = tmp_path / "folder"
        folder.mkdir()
        torch.save({"state_dict": {}, "opsnet": {"clip_hash": "a", "config": config}}, tmp_path / "planted.ckpt")
        save_file({}, folder / "model.safetensors")
        sums = {"model.safetensors": checksum(folder / "model.safetensors")}
        content = {"config": config, "clip_hash": "a", "sha256": sums, "settings": {}}
        (folder / "config.json").write_text(json.dumps({"opsnet": content}))
        return tmp_path / "planted.ckpt", folder

    return make
