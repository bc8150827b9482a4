"""The configuration of a CLIP without a name: those of published models pass, and no other value of any key does."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import open_clip
import pytest

from opsnet.clip.custom_config import first_problem

CONFIGS = Path(open_clip.__file__).parent / "model_configs"
USABLE = sorted(path.stem for path in CONFIGS.glob("*.json") if path.stem.startswith(("RN", "convnext")))
PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data" / "published_models" / "fcclip_small"
CONVNEXT: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {
        "timm_model_name": "test_convnext", "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "mlp",
        "timm_drop": 0.0, "timm_drop_path": 0.1, "image_size": 64,
    },
    "text_cfg": {"context_length": 16, "vocab_size": 100, "width": 16, "heads": 2, "layers": 1},
}  # fmt: skip
RESNET: dict[str, Any] = {
    **CONVNEXT,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "patch_size": None},
}
WRONG = [
    "hf-hub:a/b", "local-dir:/x", "https://x/y", "../up", "a b", "${oc.env:HOME}", -1, 0.5j, 10**9, 1e9, float("nan"),
    [1] * 5, [1, 1, 1, 65], [1, 1, 1, True], {"a": 1}, object(), b"x",
]  # fmt: skip


@pytest.mark.parametrize("name", USABLE)
def test_every_resnet_and_convnext_of_open_clip_passes(name: str) -> None:
    assert len(USABLE) > 15
    assert first_problem(json.loads((CONFIGS / f"{name}.json").read_text())) is None


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"the published models are not at {PUBLISHED}")
def test_those_of_the_published_models_pass() -> None:
    for path in PUBLISHED.glob("*/open_clip_config.json"):
        assert first_problem(json.loads(path.read_text())) is None


def keys(config: dict[str, Any]) -> list[tuple[str, ...]]:
    own = [(key,) for key in config]
    return own + [(key, inner) for key, value in config.items() if isinstance(value, dict) for inner in value]


@pytest.mark.parametrize("config", [CONVNEXT, RESNET], ids=["convnext", "resnet"])
def test_no_key_takes_a_path_a_huge_number_or_an_object(config: dict[str, Any]) -> None:
    assert first_problem(config) is None
    for key in keys(config):
        for value in WRONG:
            changed = copy.deepcopy(config)
            parent = changed if len(key) == 1 else changed[key[0]]
            parent[key[-1]] = value
            problem = first_problem(changed)
            assert problem is not None, f"{key} took {value!r}"
            assert problem.key[: len(key)] == key
            assert problem.reason


@pytest.mark.parametrize("key", ["hf_model_name", "hf_tokenizer_name", "tokenizer_kwargs", "act_kwargs", 3])
def test_an_unknown_key_is_a_problem(key: object) -> None:
    for part in ("vision_cfg", "text_cfg"):
        problem = first_problem({**CONVNEXT, part: {**CONVNEXT[part], key: 1}})
        assert problem is not None
        assert problem.key == (part, str(key))
        assert problem.reason.startswith("it must be one of ")
    assert first_problem({**CONVNEXT, key: 1}) is not None


def test_a_vit_is_a_problem() -> None:
    """Twelve layers instead of four stages: building it would take long before it is refused."""
    problem = first_problem({**RESNET, "vision_cfg": {"layers": 12, "width": 64, "patch_size": 16}})
    assert problem is not None
    assert problem.key == ("vision_cfg", "layers")
    assert "dense features need a ResNet or ConvNeXt" in problem.reason


@pytest.mark.parametrize("config", [None, 3, "RN50", [], {}, {"embed_dim": 1}])
def test_what_is_no_configuration(config: Any) -> None:
    problem = first_problem(config)
    assert problem is not None
    assert problem.reason == "a CLIP needs it, as a mapping"
