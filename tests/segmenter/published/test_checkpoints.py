"""Whole published networks: outputs equal transformers' at any size, from both layouts; and unsuitable files."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from mask2former_peer import in_detectron2s_layout, random_peer, resnet, swin
from safetensors.torch import save_file
from torch import nn

from opsnet.segmenter.published.checkpoints import load_published
from opsnet.segmenter.published.weight_files import WeightsError
from scripts.published import check_parity, convert_mask2former

BACKBONES = {
    "swin_t": lambda: swin(embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7),
    "swin_l, shallow": lambda: swin(embed_dim=192, depths=[2, 2, 2, 2], num_heads=[6, 12, 24, 48], window_size=12),
    "r50": lambda: resnet(depths=[3, 4, 6, 3], hidden_sizes=[256, 512, 1024, 2048]),
}
SMALL = {
    "feature_size": 64, "mask_feature_size": 64, "hidden_dim": 64, "encoder_feedforward_dim": 32, "dim_feedforward": 32,
    "encoder_layers": 1, "decoder_layers": 3, "num_attention_heads": 4, "num_queries": 5,
}  # fmt: skip


@pytest.fixture(scope="module")
def script() -> Any:
    return check_parity


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_published_network_has_the_outputs_of_the_peer(backbone: str, script, tmp_path: Path) -> None:
    """At a size not divisible by 32 or a window of 7 or 12; and detectron2's file holds the same network."""
    peer = random_peer(BACKBONES[backbone]())
    peer.save_pretrained(tmp_path)
    found = script.compare(tmp_path, (100, 76))
    assert [d.name for d in found] == ["mask_logits", "queries", *(f"intermediate_masks[{i}]" for i in range(9))]
    for d in found:
        assert d.difference <= 1e-4, d
        assert d.largest > 0.3, d  # not all near zero, which would hide a difference
    from_folder, from_file = script.Segmenter(peer.config), script.Segmenter(peer.config)
    load_published(from_folder, tmp_path)
    torch.save({"model": in_detectron2s_layout(peer.state_dict())}, tmp_path / "model_final.pth")
    load_published(from_file, tmp_path / "model_final.pth")
    other = from_file.state_dict()
    for name, tensor in from_folder.state_dict().items():
        if not name.startswith(("query_decoder.embed_head.", "query_decoder.iou_head.")):
            assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 224), (130, 97)])
def test_a_swin_of_any_size(height: int, width: int, script, tmp_path: Path) -> None:
    sizes = {"embed_dim": 16, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 4, 8], "window_size": 7}
    random_peer(swin(**sizes), feature_size=256, num_queries=5).save_pretrained(tmp_path)
    assert all(d.difference <= 1e-4 for d in script.compare(tmp_path, (height, width)))


@pytest.fixture(scope="module")
def small() -> Any:
    return random_peer(resnet(depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 128], embedding_size=64), **SMALL)


@pytest.fixture
def model(script, small) -> nn.Module:
    torch.manual_seed(1)
    return script.Segmenter(small.config)


def test_the_report_lists_what_was_loaded_unused_and_missing(model, small, tmp_path: Path) -> None:
    small.save_pretrained(tmp_path)
    report = load_published(model, tmp_path)
    class_head = {"query_decoder.class_head.weight", "query_decoder.class_head.bias"}
    assert set(report.unused) == {*class_head, "criterion.empty_weight"}
    heads = {f"query_decoder.{head}.{kind}" for head in ("embed_head", "iou_head") for kind in ("weight", "bias")}
    assert set(report.missing) == heads
    assert {*report.loaded, *report.missing} == set(model.state_dict())
    assert "not used: criterion (1), query_decoder.class_head (2)" in str(report)
    assert "untrained: query_decoder.embed_head (2), query_decoder.iou_head (2)" in str(report)


def test_the_no_object_score_is_the_peers(script, tmp_path: Path) -> None:
    wide = {**SMALL, "feature_size": 256, "hidden_dim": 256, "mask_feature_size": 256}
    backbone = resnet(depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 128], embedding_size=64)
    peer = random_peer(backbone, **wide)
    peer.save_pretrained(tmp_path)
    model = script.Segmenter(peer.config).eval()
    report = load_published(model, tmp_path, class_head=True)
    assert report.unused == ("criterion.empty_weight",)
    image = torch.randn(1, 3, 70, 40)
    with torch.no_grad():
        proposals = model.query_decoder(model.pixel_decoder(model.backbone(image)), torch.zeros(1, 1, 1, 1))
        theirs = peer(image).class_queries_logits.softmax(-1)
    torch.testing.assert_close(proposals.iou, theirs[..., :-1].sum(-1), atol=1e-5, rtol=1e-4)


def test_a_required_class_head_must_be_in_the_file(model, small, tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in small.state_dict().items() if "class_predictor" not in name}
    save_file(state, tmp_path / "headless.safetensors")
    with pytest.raises(WeightsError, match="hold no class head, whose no-object score is needed"):
        load_published(model, tmp_path / "headless.safetensors", class_head=True)


def test_detectron2s_pickle_of_arrays(model, small, tmp_path: Path) -> None:
    arrays = {name: tensor.numpy() for name, tensor in in_detectron2s_layout(small.state_dict()).items()}
    (tmp_path / "model_final.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "third party"}, protocol=2))
    load_published(model, tmp_path / "model_final.pkl")
    convolution = small.state_dict()["model.pixel_level_module.encoder.embedder.embedder.convolution.weight"]
    assert torch.equal(model.backbone.model.conv1.weight, convolution)


def refused(model: nn.Module, path: Path, message: str) -> None:
    """Nothing is loaded, and the error says why."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(WeightsError, match=message) as caught:
        load_published(model, path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_truncated_file_is_refused(model, small, tmp_path: Path) -> None:
    small.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    refused(model, file, "cannot be read")


def test_an_incomplete_state_is_refused(model, small, tmp_path: Path) -> None:
    state = small.state_dict()
    state.pop("model.transformer_module.level_embed.weight")
    save_file(state, tmp_path / "cut.safetensors")
    refused(model, tmp_path / "cut.safetensors", "1 tensors are missing .*level_embed.* is missing")


def test_another_backbone_is_refused(model, tmp_path: Path) -> None:
    other = random_peer(swin(embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8]), **SMALL)
    other.save_pretrained(tmp_path)
    refused(model, tmp_path, "of another network: .* choose the backbone=")


def test_another_size_is_refused(model, tmp_path: Path) -> None:
    backbone = resnet(depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 128], embedding_size=64)
    random_peer(backbone, **{**SMALL, "num_queries": 7}).save_pretrained(tmp_path)
    refused(
        model, tmp_path, r"another size: 2 of .*query_\w+.weight' is \(7, 64\) in the file and \(5, 64\) in the model"
    )


def test_a_layer_unknown_to_this_design_is_refused(model, small, tmp_path: Path) -> None:
    extra = {"model.transformer_module.input_projections.0.weight": torch.zeros(2)}
    save_file({**small.state_dict(), **extra}, tmp_path / "wide.safetensors")
    refused(model, tmp_path / "wide.safetensors", "1 tensors do not belong .*input_projections.0.weight' is unexpected")


def test_a_foreign_file_is_refused(model, tmp_path: Path) -> None:
    save_file({"fc.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    refused(model, tmp_path / "other.safetensors", "no pixel or query decoder among the 1 tensors")


def test_the_converted_file_loads_like_the_original(model, small, script, tmp_path: Path) -> None:
    small.save_pretrained(tmp_path)
    convert_mask2former.main([str(tmp_path), str(tmp_path / "converted.safetensors")])
    load_published(model, tmp_path / "converted.safetensors")
    again = script.Segmenter(small.config)
    load_published(again, tmp_path)
    for part in ("backbone", "pixel_decoder", "query_decoder.layers"):
        other = again.get_submodule(part).state_dict()
        assert all(torch.equal(t, other[name]) for name, t in model.get_submodule(part).state_dict().items())


def test_the_script_detects_a_difference(script, small, tmp_path: Path, capsys, monkeypatch) -> None:
    wide = {
        **SMALL,
        "feature_size": 256,
        "hidden_dim": 256,
        "mask_feature_size": 256,
    }  # norms have eight channels per group in every published network
    backbone = resnet(depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 128], embedding_size=64)
    random_peer(backbone, **wide).save_pretrained(tmp_path)
    assert script.main([str(tmp_path), "--size", "70x40", "--json"]) == 0
    assert all(entry["equal"] for entry in json.loads(capsys.readouterr().out))
    load = script.load_published

    def spoiled(model: nn.Module, path: Path) -> Any:
        report = load(model, path)
        with torch.no_grad():
            model.pixel_decoder.layers[0].norm.bias.add_(0.01)
        return report

    monkeypatch.setattr(script, "load_published", spoiled)
    assert script.main([str(tmp_path), "--size", "70x40"]) == 1
    assert "NO" in capsys.readouterr().out


def test_a_folder_without_a_network_is_named(script, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        script.main([str(tmp_path)])
    assert f"folder {tmp_path} holds no config.json" in capsys.readouterr().err
