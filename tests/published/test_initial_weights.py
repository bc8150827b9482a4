"""``init_from`` with published weights: which are taken, what is reported, and what is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fcclip_layout import CLIP_CONFIG, SMALL_FCCLIP, small_clip
from published_files import fcclip_state

from opsnet.clip.loading import custom_clip
from opsnet.model import OPSNet
from opsnet.published.initial_weights import initialize, load_published_weights
from opsnet.published.loading import load_published_model
from opsnet.segmenter.published.weight_files import WeightsError
from opsnet.training.run import build_module
from opsnet.utils.errors import CheckpointError
from opsnet.vocabulary import Vocabulary

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "published_models" / "fcclip_small"
Build = Callable[..., OPSNet]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Weights of two small CLIPs."""
    folder = tmp_path_factory.mktemp("clips")
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save(custom_clip(config=CLIP_CONFIG["model_cfg"]).state_dict(), folder / f"{seed}.pt")
    return [folder / "0.pt", folder / "1.pt"]


@pytest.fixture
def build(compose, clips, tmp_path: Path) -> Build:
    """(seed, overrides, which CLIP) -> a small network of experiment=finetune."""

    def built(seed: int, *overrides: str, clip: int = 0) -> OPSNet:
        torch.manual_seed(seed)
        given = [*SMALL_FCCLIP, *small_clip(clips[clip]), f"output={tmp_path}", *overrides]
        cfg = compose("train", "experiment=finetune", *given)
        return build_module(cfg, Vocabulary.load("scenes")).model

    return built


def saved(path: Path, model: OPSNet, **how: bool) -> Path:
    torch.save({"model": fcclip_state(model, **how)}, path)
    return path


def differing(model: OPSNet, other: OPSNet) -> set[str]:
    own, others = model.state_dict(), other.state_dict()
    return {name for name in own if not torch.equal(own[name], others[name])}


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the small published models are not here")
@pytest.mark.parametrize("kind", ["convnext", "rn50"])
def test_a_file_written_by_the_publishers_code(kind) -> None:
    """Its CLIP is stored in half precision, as the network is."""
    path = PUBLISHED / kind / "model_final.pth"
    model = load_published_model(path, clip=PUBLISHED / kind / "open_clip_config.json", device="cpu").model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trained = [parameter for name, parameter in model.named_parameters() if not name.startswith("clip.")]
    with torch.no_grad():
        for parameter in trained:
            parameter.add_(1.0)
    loaded = load_published_weights(model, path)
    assert len(loaded.loaded) >= len(trained) > 100
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("with_clip", [True, False])
def test_a_training_starts_from_published_weights(with_clip, build: Build, tmp_path, caplog) -> None:
    source = build(0)
    path = saved(tmp_path / "fcclip.pth", source, with_clip=with_clip)
    assert len(differing(build(1), source)) > 50
    with caplog.at_level(logging.INFO):
        assert differing(build(1, f"init_from={path}"), source) == set()
    (line,) = [message for message in caplog.messages if "tensors loaded" in message]
    count = sum(not name.startswith("clip.") for name in source.state_dict())
    inside = " (init_from): {} tensors loaded; not used: criterion (1); not in the file and untrained: nothing"
    assert line == f"weights {path}" + inside.format(count)


def test_weights_of_mask2former_leave_the_new_heads_as_they_are(build: Build, tmp_path, caplog) -> None:
    source, model = build(0), build(1)
    own = ("class_embed", "_mask_pooling_proj", "logit_scale", "void_embedding", "backbone.")
    state = {k: v for k, v in fcclip_state(source).items() if not any(part in k for part in own)}
    state["sem_seg_head.predictor.class_embed.weight"] = torch.zeros(134, 64)
    torch.save(state, tmp_path / "mask2former.pth")
    with caplog.at_level(logging.INFO):
        loaded = load_published_weights(model, tmp_path / "mask2former.pth")
    heads = {name for name in model.state_dict() if name.startswith("query_decoder.embed_head.")}
    assert set(loaded.missing) == heads | {"no_object_embed", "log_logit_scale"}
    left = differing(model, source)  # all but what has the same numbers in every new network
    assert {"no_object_embed", "query_decoder.embed_head.mlp.0.weight"} <= left <= set(loaded.missing)
    assert loaded.unused == ("criterion.empty_weight", "query_decoder.class_head.weight")


@pytest.mark.parametrize(
    ("overrides", "clip", "message"),
    [
        (["model.query_decoder.queries=9"], 0, r"pth \(init_from\) have another size: 2 .*; it is of FC-CLIP: model="),
        (
            ["model.query_decoder.iou_head=true"],
            0,
            r"another network: .* of FC-CLIP: model=fcclip backbone=clip, with ",
        ),
        ([], 1, r"contain another CLIP than the one given \(.* give clip=.* and clip\.model\."),
    ],
)
def test_weights_of_another_network_are_refused(overrides, clip, message, build: Build, tmp_path) -> None:
    path = saved(tmp_path / "fcclip.pth", build(0))
    model = build(1, *overrides, clip=clip)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(WeightsError, match=message):
        load_published_weights(model, path)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_the_clip_in_the_file_may_be_rounded(build: Build, tmp_path) -> None:
    model = build(0)
    state = {name: tensor.half() for name, tensor in fcclip_state(model).items()}
    torch.save(state, tmp_path / "half.pth")
    load_published_weights(model, tmp_path / "half.pth")
    name = next(name for name in state if name.startswith("backbone.") and name.endswith("weight"))
    state[name] = state[name] * 1.01
    torch.save(state, tmp_path / "tuned.pth")
    with pytest.raises(WeightsError, match=r"\(1 of \d+ tensors differ, e\.g\. '"):
        load_published_weights(model, tmp_path / "tuned.pth")


def test_options_are_given_for_a_known_clip(build: Build, tmp_path) -> None:
    """A file with the sizes of RN50 and without its CLIP."""
    state = fcclip_state(build(0), with_clip=False)
    state["sem_seg_head.pixel_decoder.input_proj.0.0.weight"] = torch.zeros(64, 2048, 1, 1)
    state["void_embedding.weight"] = torch.zeros(1, 1024)
    torch.save(state, tmp_path / "r50.pth")
    with pytest.raises(WeightsError, match=r"model=fcclip backbone=clip clip=rn50 clip\.pooling=attention$"):
        load_published_weights(build(1), tmp_path / "r50.pth")


def test_other_files_are_refused(build: Build, tmp_path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "foreign.pth")
    with pytest.raises(WeightsError, match=r"foreign\.pth \(init_from\) are of no known model"):
        build(0, f"init_from={tmp_path / 'foreign.pth'}")
    state = fcclip_state(build(0))
    state["void_embedding.weight"][0, 0] = float("nan")
    torch.save(state, tmp_path / "diverged.pth")
    with pytest.raises(CheckpointError, match=r"diverged\.pth \(init_from\): void_embedding\.weight contains NaN"):
        build(0, f"init_from={tmp_path / 'diverged.pth'}")
    with pytest.raises(CheckpointError, match=r"no\.pth \(init_from\) does not exist"):
        build(0, "init_from=no.pth")


def test_a_folder_of_save_pretrained_is_refused_with_what_to_give(convnext, tmp_path) -> None:
    convnext.open().save_pretrained(tmp_path / "saved")
    with pytest.raises(CheckpointError, match=r"\(init_from\) is a folder of save_pretrained.*give the checkpoint"):
        initialize(convnext.network, tmp_path / "saved")
