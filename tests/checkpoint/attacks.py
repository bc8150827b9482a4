"""Malicious values that an attacker could write into the configuration in a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CANARY = "CANARY"
"""Placeholder for the path of a file that must never exist."""


@dataclass(frozen=True)
class Attack:
    """A value under a key of the configuration; the error must state the key and part of the value."""

    place: tuple[str, ...]
    value: Any
    key: str
    named: str


def _node(target: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": target, **arguments}


def custom_clip(**changed: Any) -> dict[str, Any]:
    """A CLIP by its own configuration, of which some values are changed."""
    vision = {"timm_model_name": "test_convnext", "timm_model_pretrained": False, "image_size": 64}
    text = {"context_length": 16, "vocab_size": 100, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    for part, values in changed.items():
        config[part] = {**config[part], **values} if isinstance(values, dict) else values  # type: ignore[dict-item]
    return _node("opsnet.clip.loading.custom_clip", _partial_=True, config=config)


ARCHITECTURE = ("clip", "model", "architecture")
CUSTOM = "clip.model.architecture.config."
SHELL = _node("os.system", command=f"touch {CANARY}")
ATTACKS = {
    "os.system": Attack(("backbone",), SHELL, "backbone._target_", "os.system"),
    "eval": Attack(
        ("backbone",), _node("builtins.eval", _args_=[f"open('{CANARY}', 'w')"]), "backbone._args_", "CANARY"
    ),
    "open": Attack(
        ("model", "query_decoder"), _node("builtins.open", file=CANARY, mode="w"), "model.query_decoder._target_",
        "builtins.open",
    ),
    "collect_env": Attack(
        ("clip", "tokenizer"), _node("torch.utils.collect_env.run", command=f"touch {CANARY}"),
        "clip.tokenizer._target_", "torch.utils.collect_env.run",
    ),
    "torch.load": Attack(
        ("clip", "model"), _node("torch.load", f=f"{CANARY}.pickle", weights_only=False), "clip.model._target_",
        "torch.load",
    ),
    "write_text": Attack(
        ("backbone",), _node("pathlib.Path.write_text", data="x", self=_node("pathlib.Path", _args_=[CANARY])),
        "backbone.self._target_", "pathlib.Path",
    ),
    "chain": Attack(
        ("backbone",), _node("opsnet.clip.loading.torch.utils.collect_env.run", command=f"touch {CANARY}"),
        "backbone._target_", "opsnet.clip.loading.torch.utils.collect_env.run",
    ),
    "chain to a method": Attack(
        ("clip", "tokenizer"), _node("opsnet.clip.loading.Path.write_text", self=CANARY, data="x"),
        "clip.tokenizer._target_", "opsnet.clip.loading.Path.write_text",
    ),
    "nested": Attack(
        ("backbone", "model_args", "stem"), {"a": {"b": SHELL}}, "backbone.model_args.stem.a.b._target_", "os.system"
    ),
    "in a list": Attack(("clip", "templates"), ["{}", [SHELL]], "clip.templates.1.0._target_", "os.system"),
    "partial": Attack(
        ("clip", "model", "architecture"), {**SHELL, "_partial_": True}, "clip.model.architecture._target_", "os.system"
    ),
    "no longer partial": Attack(
        ("model", "pixel_decoder", "_partial_"), False, "model.pixel_decoder._partial_", "False"
    ),
    "not recursive": Attack(("model", "_recursive_"), False, "model._recursive_", "False"),
    "oc.create": Attack(
        ("backbone",), f"${{oc.create:{{_target_: os.system, command: touch {CANARY}}}}}", "backbone", "oc.create"
    ),
    "oc.env": Attack(("experiment",), "${oc.env:HOME}", "experiment", "oc.env:HOME"),
    "oc.env as a name": Attack(("vocabulary", "name"), "a${oc.env:HOME}", "vocabulary.name", "oc.env:HOME"),
    "recognizer": Attack(("inference", "recognizer"), SHELL, "inference.recognizer._target_", "os.system"),
    "recognizer by a chain": Attack(
        ("inference", "recognizer", "_target_"), "opsnet.recognition.modulation.torch.load",
        "inference.recognizer._target_", "torch.load",
    ),
    "filter": Attack(
        ("inference", "filtering", "threshold"), SHELL, "inference.filtering.threshold._target_", "os.system"
    ),
    "templates of a file": Attack(("clip", "templates"), "/etc/passwd", "clip.templates", "/etc/passwd"),
    "weights": Attack(("backbone", "weights"), f"{CANARY}.pickle", "backbone.weights", "pickle"),
    "published weights": Attack(("model", "weights"), f"{CANARY}.pickle", "model.weights", "pickle"),
    "weights by timm": Attack(
        ("backbone", "model_args", "checkpoint_path"), "evil.pth", "backbone.model_args.checkpoint_path", "evil.pth"
    ),
    "weights overlaid": Attack(
        ("backbone", "model_args", "pretrained_cfg"), {"file": "evil"}, "backbone.model_args.pretrained_cfg", "evil"
    ),
    "backbone of the Hub": Attack(("backbone", "name"), "hf-hub:evil/model", "backbone.name", "hf-hub:evil/model"),
    "tokenizer of the Hub": Attack(
        ("clip", "tokenizer"), _node("open_clip.get_tokenizer", model_name="hf-hub:evil/model"),
        "clip.tokenizer.model_name", "hf-hub:evil/model",
    ),
    "tokenizer of a folder": Attack(
        ("clip", "tokenizer"), _node("open_clip.get_tokenizer", model_name="evil"), "clip.tokenizer.model_name", "evil"
    ),
    "bpe of a file": Attack(("clip", "tokenizer", "bpe_path"), "evil.gz", "clip.tokenizer.bpe_path", "evil.gz"),
    "CLIP of a file": Attack(
        ("clip", "model", "architecture"),
        _node("open_clip.create_model", _partial_=True, model_name="RN50", pretrained="evil", weights_only=False),
        "clip.model.architecture.weights_only", "False",
    ),
    "CLIP of a file by name": Attack(
        ("clip", "model", "architecture"),
        _node("open_clip.create_model", _partial_=True, model_name="RN50", pretrained="evil"),
        "clip.model.architecture.pretrained", "evil",
    ),
    "CLIP beside the checkpoint": Attack(("clip", "model", "weights"), "evil.pt", "clip.model.weights", "evil.pt"),
    "text tower of Hugging Face": Attack(
        ARCHITECTURE, custom_clip(text_cfg={"hf_model_name": "evil"}), f"{CUSTOM}text_cfg.hf_model_name", "evil"
    ),
    "tokenizer of Hugging Face": Attack(
        ARCHITECTURE, custom_clip(text_cfg={"hf_tokenizer_name": "evil"}), f"{CUSTOM}text_cfg.hf_tokenizer_name",
        "evil",
    ),
    "image tower of the Hub": Attack(
        ARCHITECTURE, custom_clip(vision_cfg={"timm_model_name": "hf-hub:evil/model"}),
        f"{CUSTOM}vision_cfg.timm_model_name", "hf-hub:evil/model",
    ),
    "image tower of a folder": Attack(
        ARCHITECTURE, custom_clip(vision_cfg={"timm_model_name": "local-dir:evil"}),
        f"{CUSTOM}vision_cfg.timm_model_name", "local-dir:evil",
    ),
    "image tower of a URL": Attack(
        ARCHITECTURE, custom_clip(vision_cfg={"timm_model_name": "https://evil.example/model"}),
        f"{CUSTOM}vision_cfg.timm_model_name", "https://evil.example/model",
    ),
    "pretrained image tower": Attack(
        ARCHITECTURE, custom_clip(vision_cfg={"timm_model_pretrained": True}),
        f"{CUSTOM}vision_cfg.timm_model_pretrained", "True",
    ),
    "endless text tower": Attack(
        ARCHITECTURE, custom_clip(text_cfg={"layers": 10**9}), f"{CUSTOM}text_cfg.layers", "1000000000"
    ),
    "huge CLIP": Attack(ARCHITECTURE, custom_clip(embed_dim=10**12), f"{CUSTOM}embed_dim", "1000000000000"),
    "CLIP of one argument more": Attack(
        ARCHITECTURE, {**custom_clip(), "cache_dir": "evil"}, "clip.model.architecture.cache_dir", "evil"
    ),
    "CLIP by a name alone": Attack(
        ARCHITECTURE, custom_clip(vision_cfg="evil"), f"{CUSTOM}vision_cfg", "evil"
    ),
    "backbone by a method": Attack(
        ("backbone",), _node("opsnet.clip.shared_backbone.SharedClipBackbone.share", encoder="evil"),
        "backbone._target_", "SharedClipBackbone.share",
    ),
    "levels of a file": Attack(
        ("backbone",), _node("opsnet.clip.shared_backbone.SharedClipBackbone", levels="/etc/passwd"),
        "backbone.levels", "/etc/passwd",
    ),
    "argument": Attack(("model", "pixel_decoder", "in_channels"), [1], "model.pixel_decoder.in_channels", "1"),
}  # fmt: skip
