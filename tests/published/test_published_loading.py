"""Published files load completely, without options for what the file says itself, and compute what was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mask2former_peer import SMALL, in_detectron2s_layout, random_peer, resnet, swin
from published_files import POOLING, fcclip_network, fcclip_state, ovrcoat_state, write_pkl, write_pth

import opsnet
from opsnet.clip.loading import ClipWeightsError, custom_clip
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction.images import NetworkSize
from opsnet.prediction.words import as_words
from opsnet.published.loading import load_published_model
from opsnet.segmenter.published.weight_files import WeightsError
from opsnet.vocabulary.names import VocabularyError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "published_models" / "fcclip_small"
WORDS = "sea, tree, red car"
SMALL_IMAGES = NetworkSize(64, 128)


def state_of(predictor: Any) -> dict[str, torch.Tensor]:
    return predictor.trained.model.state_dict()


def same(predictor: Any, network: Any, dtype: torch.dtype = torch.float32) -> bool:
    own, written = state_of(predictor), network.state_dict()
    return own.keys() == written.keys() and all(
        torch.equal(own[name], tensor.to(dtype).to(tensor.dtype) if tensor.is_floating_point() else tensor)
        for name, tensor in written.items()
    )


@pytest.mark.parametrize("kind", ["convnext", "rn50"])
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the published model is not at {SHARED}")
def test_the_layout_of_these_tests_is_the_publishers(kind: str) -> None:
    theirs = torch.load(SHARED / kind / "model_final.pth", weights_only=True)["model"]
    clip = custom_clip(config=json.loads((SHARED / kind / "open_clip_config.json").read_text()))
    pooling = POOLING["convnext" if kind == "convnext" else "resnet"]
    sizes = {"dim": 64, "queries": 40, "encoder_layers": 6, "encoder_hidden": 1024, "layers": 9, "hidden": 96}
    ours = fcclip_state(fcclip_network(clip, pooling, **sizes))
    assert {name: tensor.shape for name, tensor in ours.items()} == {n: t.shape for n, t in theirs.items()}


def test_every_tensor_and_every_output_is_that_of_the_written_network(published) -> None:
    predictor = published.open()
    assert same(predictor, published.network)
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        (theirs, their_map), (ours, our_map) = (m(images) for m in (published.network, predictor.trained.model))
        pooled = [m.embed(theirs, their_map, (64, 96)).clip for m in (published.network, predictor.trained.model)]
    for a, b in ((theirs.mask_logits, ours.mask_logits), (theirs.query_embeds, ours.query_embeds), (their_map, our_map),
                 (theirs.iou, ours.iou), pooled):  # fmt: skip
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
        assert a.std() > 0
    assert predictor.trained.model.query_decoder.iou_head is None
    assert predictor.trained.model.shares_clip


def test_one_pass_of_the_trunk_serves_masks_and_names(published, image) -> None:
    predictor, calls = published.open(), []
    predictor.size = SMALL_IMAGES
    visual = predictor.trained.model.clip.image_encoder.visual
    first = visual.conv1 if hasattr(visual, "conv1") else visual.trunk.stem
    first.register_forward_hook(lambda *_: calls.append(1))
    predictor(image, WORDS)
    assert len(calls) == 1


def test_another_clip_beside_the_one_inside_is_told(published, tmp_path: Path, caplog) -> None:
    assert same(published.open(clip_weights=published.clip), published.network)
    assert not caplog.records
    inside = torch.load(published.clip, weights_only=True)
    other = {name: value + 0.1 if value.is_floating_point() else value for name, value in inside.items()}
    torch.save(other, tmp_path / "other.pt")
    published.open(clip_weights=tmp_path / "other.pt")
    assert "contain another CLIP than the one given" in caplog.text


def test_a_wrong_file_of_clip_weights_is_the_one_that_is_named(published, tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ClipWeightsError, match=r"CLIP weights .*text\.pth do not fit"):
        published.open(clip_weights=tmp_path / "text.pth")


def test_a_saved_folder_claims_no_licence(published, tmp_path: Path) -> None:
    published.open().save_pretrained(tmp_path / "saved")
    assert "license" not in (tmp_path / "saved" / "README.md").read_text()


def test_without_the_clip_inside_it_comes_from_its_own_file(published, tmp_path: Path) -> None:
    path = write_pth(fcclip_state(published.network, with_clip=False), tmp_path / "decoder.pth")
    assert same(published.open(path, clip_weights=published.clip), published.network)
    with pytest.raises(ClipWeightsError, match=rf"{path} does not contain the weights of its CLIP: give clip_weights="):
        published.open(path)


def test_a_given_clip_replaces_the_one_inside(convnext, tmp_path: Path) -> None:
    other = {n: t + 1 for n, t in convnext.network.clip.text_encoder.clip.state_dict().items()}
    torch.save(other, tmp_path / "other.pt")
    predictor = convnext.open(clip_weights=tmp_path / "other.pt")
    assert torch.equal(predictor.trained.model.clip.text_encoder.clip.text_projection, other["text_projection"])


def test_half_precision_and_pickled_arrays(convnext, tmp_path: Path) -> None:
    half = write_pth(fcclip_state(convnext.network), tmp_path / "half.pth", torch.float16)
    predictor = convnext.open(half)
    assert same(predictor, convnext.network, torch.float16)
    assert {tensor.dtype for tensor in predictor.trained.model.parameters()} == {torch.float32}
    bare = tmp_path / "bare.pth"
    torch.save(fcclip_state(convnext.network), bare)  # without {"model": ...}
    for path in (bare, write_pkl(fcclip_state(convnext.network), tmp_path / "model_final.pkl")):
        assert same(convnext.open(path), convnext.network)


def test_ovrcoat_is_the_finetuned_network_with_its_recognizer(convnext, tmp_path: Path) -> None:
    predictor = convnext.open(write_pth(ovrcoat_state(convnext.network), tmp_path / "ovrcoat.pth"))
    assert same(predictor, convnext.network)  # frozen_backbone, all zeros in this file, is not loaded
    assert predictor.recognizer.clip_trust == 0.5
    assert convnext.open().recognizer.clip_trust == 0.0


def test_the_training_names_decide_what_is_seen(convnext, tmp_path: Path) -> None:
    assert convnext.open().train_vocabulary.name == "coco"
    (tmp_path / "names.txt").write_text("3:sea,ocean\n7:car,red car\n")
    predictor = convnext.open(train_vocabulary=tmp_path / "names.txt")
    assert predictor.train_vocabulary.names == ("sea", "car")
    prepared = predictor.prepared(as_words(WORDS))
    assert prepared.same_text.tolist() == [True, False, True]
    with pytest.raises(VocabularyError, match=r"no\.txt does not exist"):
        convnext.open(train_vocabulary=tmp_path / "no.txt")


def test_a_saved_folder_is_complete(convnext, image, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("3:sea,ocean\n")
    predictor = convnext.open(train_vocabulary=names, filtering=MaskFiltering(kind="iou", threshold=0))
    predictor.size = SMALL_IMAGES
    predictor.save_pretrained(tmp_path / "saved")
    names.unlink()
    again = opsnet.load(tmp_path / "saved", device="cpu")
    assert again.train_vocabulary == predictor.train_vocabulary
    assert (again.size, again.overlap, again.recognizer.settings()) == (
        predictor.size, predictor.overlap, predictor.recognizer.settings(),
    )  # fmt: skip
    a, b = (p(image, WORDS, top_k=3) for p in (predictor, again))
    assert torch.equal(a.ids, b.ids)
    assert a.segments == b.segments


BACKBONES = {"resnet50.tv_in1k": resnet, "swin_tiny_patch4_window7_224": swin}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_mask2former_in_both_layouts(backbone: str, convnext, image, tmp_path: Path) -> None:
    """Whole backbones of published sizes, so that they are recognised, with small decoders."""
    peer = random_peer(BACKBONES[backbone](), **SMALL, num_labels=133)
    peer.save_pretrained(tmp_path / "transformers")
    state = in_detectron2s_layout(peer.state_dict())
    files = [tmp_path / "transformers", write_pth(state, tmp_path / "a.pth"), write_pkl(state, tmp_path / "a.pkl")]
    models = [convnext.open(path, clip_weights=convnext.clip) for path in files]
    first = state_of(models[0])
    assert models[0].trained.config["backbone"]["name"] == backbone
    for other in models[1:]:
        assert all(torch.equal(t, first[n]) for n, t in state_of(other).items() if not n.startswith(UNTRAINED))
    model = models[0].trained.model
    pixels = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        proposals, _ = model(pixels)
        theirs = peer((pixels - model.backbone.mean) / model.backbone.std)
    torch.testing.assert_close(proposals.mask_logits, theirs.masks_queries_logits, atol=1e-4, rtol=1e-4)
    objectness = 1 - theirs.class_queries_logits.softmax(-1)[..., -1]
    torch.testing.assert_close(proposals.iou, objectness, atol=1e-4, rtol=1e-4)
    assert type(models[0].recognizer).__name__ == "ClipOnly"
    assert models[0].filtering.settings()["threshold"] == 0.8
    models[0].size = SMALL_IMAGES
    assert models[0](image, WORDS, filtering=MaskFiltering(kind="iou", threshold=0)).segments


UNTRAINED = ("query_decoder.embed_head.", "query_decoder.iou_head.", "no_object_embed", "clip.")


def test_another_number_of_heads_is_refused(convnext, tmp_path: Path) -> None:
    """No shape depends on it, so the network would load and compute something else."""
    random_peer(swin(), **{**SMALL, "num_attention_heads": 4}).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"config\.json has num_attention_heads=4, but every published one has 8"):
        load_published_model(tmp_path, clip=convnext.config, clip_weights=convnext.clip, device="cpu")
