"""Parameters by part, where weights come from, and CLIP's activation beside what its weights want."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from open_clip.transformer import QuickGELU
from torch import nn

from opsnet.diagnosis.checklist import Checklist
from opsnet.diagnosis.networks import check_activation, check_weights, checkpoint_bytes, count_parameters


def tower(activation: nn.Module, *, half: bool = False) -> nn.Module:
    """A stand-in for a CLIP: a layer and an activation, its values as OpenAI's release stores them or not."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), activation)
    return model.half().float() if half else model


def checked(model: nn.Module, weights: str = "builtin", **architecture: object) -> Checklist:
    checklist = Checklist()
    config = OmegaConf.create({"model": {"architecture": architecture, "weights": weights}})
    check_activation(config, model, checklist)
    assert len(checklist.results) == 1
    return checklist


def test_a_tag_says_what_its_weights_want() -> None:
    right = checked(tower(QuickGELU()), model_name="RN50-quickgelu", pretrained="openai")
    assert "QuickGELU, according to open_clip's tag openai" in right.of("ok")[0].sentence
    wrong = checked(tower(nn.GELU()), model_name="RN50", pretrained="openai")
    (failure,) = wrong.of("failure")
    assert "CLIP is built with GELU, but needs QuickGELU according to open_clip's tag openai" in failure.sentence
    assert "give clip.model.architecture.model_name=RN50-quickgelu" in failure.sentence


def test_the_other_mistake() -> None:
    wrong = checked(tower(QuickGELU()), model_name="ViT-B-32-quickgelu", pretrained="laion2b_s34b_b79k")
    assert "needs GELU according to " in wrong.of("failure")[0].sentence
    assert ": give clip.model.architecture.model_name=ViT-B-32" in wrong.of("failure")[0].sentence


def test_a_file_that_is_stored_as_openais_release(tmp_path: Path) -> None:
    file = str(tmp_path / "RN50.pt")
    wrong = checked(tower(nn.GELU(), half=True), file, model_name="RN50", pretrained=None)
    assert (
        "needs QuickGELU according to RN50.pt (half-precision values, as in OpenAI's release)"
        in wrong.of("failure")[0].sentence
    )
    assert checked(tower(QuickGELU(), half=True), file, model_name="RN50-quickgelu").of("ok")


@pytest.mark.parametrize(("quick", "verdict"), [(True, "failure"), (False, "ok")])
def test_a_configuration_beside_the_file_has_the_last_word(quick: bool, verdict: str, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"quick_gelu": quick}}))
    found = checked(tower(nn.GELU(), half=True), str(tmp_path / "a.safetensors"), model_name="RN50")
    assert "open_clip_config.json" in found.of(verdict)[0].sentence


def test_an_unknown_file_gets_a_warning_by_published_weights(tmp_path: Path) -> None:
    (warning,) = checked(tower(nn.GELU()), str(tmp_path / "own.pt"), model_name="RN50").of("warning")
    assert (
        "needs QuickGELU according to all published weights of RN50 (it cannot be read from the file)"
        in warning.sentence
    )


def test_what_cannot_be_told_is_not_judged(tmp_path: Path) -> None:
    mixed = checked(tower(nn.GELU()), str(tmp_path / "own.pt"), model_name="ViT-B-32")
    assert "cannot be determined from the file" in mixed.of("ok")[0].sentence
    assert "nothing to compare with" in checked(tower(nn.GELU()), str(tmp_path / "tiny.pt")).of("ok")[0].sentence
    assert "random weights" in checked(tower(nn.GELU()), "random", model_name="RN50").of("ok")[0].sentence


@pytest.fixture(scope="module")
def built(train_config, tmp_path_factory: pytest.TempPathFactory):
    from hydra.utils import instantiate

    cfg = train_config(tmp_path_factory.mktemp("built"))
    return cfg, instantiate(cfg.model, backbone=cfg.backbone, clip=cfg.clip)


def test_every_parameter_belongs_to_one_part(built) -> None:
    _, model = built
    counts = count_parameters(model)
    assert list(counts) == ["backbone", "pixel decoder", "query decoder", "CLIP, frozen", "no-object embedding"]
    assert sum(map(sum, counts.values())) == sum(p.numel() for p in model.parameters())
    assert counts["CLIP, frozen"][0] == 0
    assert counts["no-object embedding"] == (model.clip.embed_dim, 0)


def test_the_size_of_a_checkpoint_is_that_of_the_file(built, trained) -> None:
    expected = checkpoint_bytes(built[1])
    assert expected == pytest.approx(trained.checkpoint.stat().st_size, rel=0.1)


def sentences(cfg, model, verdict: str) -> str:
    checklist = Checklist()
    check_weights(cfg, model, checklist)
    return " ".join(result.sentence for result in checklist.of(verdict))


def test_weights_are_named_by_hash(built) -> None:
    cfg, model = built
    told = sentences(cfg, model, "ok")
    assert f"hash {model.clip.weights_hash}, from {cfg.clip.model.weights}" in told
    assert "random, trained from scratch" in told


@pytest.mark.parametrize(("changed", "verdict", "words"), [
    ({"backbone": {"frozen_norms": True}}, "warning", "norms frozen at their initial statistics"),
    ({"clip": {"model": {"weights": "random"}}}, "warning", "random weights, only for tests"),
    ({"clip": {"model": {"weights": "builtin", "architecture": {"pretrained": None}}}}, "failure", "no file is given"),
])  # fmt: skip
def test_random_weights_get_a_warning(changed, verdict: str, words: str, built) -> None:
    cfg = built[0].copy()
    OmegaConf.set_struct(cfg, False)
    assert words in sentences(OmegaConf.merge(cfg, changed), built[1], verdict)
