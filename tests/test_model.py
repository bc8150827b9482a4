"""OPSNet as one module: shapes, trained parameters, and padding in prediction."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hydra.utils import instantiate

from opsnet.checkpoint.loading import load_checkpoint
from opsnet.inference.segment import predict
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.recognition.modulation import ClipOnly, EmbeddingModulation, QueryOnly
from opsnet.recognition.recognizer import cosine_logits, prepare
from opsnet.structures import Batch, TextBank
from opsnet.training.run import train
from opsnet.vocabulary import Vocabulary

QUERIES = 6


@pytest.fixture(scope="module")
def model(compose):
    torch.manual_seed(0)
    cfg = compose(
        "train", "clip.model.weights=random", f"model.query_decoder.queries={QUERIES}", "output=nowhere"
    )  # fmt: skip
    return instantiate(cfg.model, backbone=cfg.backbone, clip=cfg.clip).eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def bank(model, *names: str) -> TextBank:
    return model.clip.text_encoder(Vocabulary.from_names(list(names)))


def test_proposals_and_their_embeddings_have_the_shapes_of_the_legend(model, images) -> None:
    with torch.no_grad():
        proposals, clip_map = model(images)
    dim = model.clip.embed_dim
    assert proposals.mask_logits.shape[:2] == (2, QUERIES)
    assert proposals.query_embeds.shape == (2, QUERIES, dim)
    assert proposals.iou.shape == (2, QUERIES)
    assert ((proposals.iou >= 0) & (proposals.iou <= 1)).all()
    assert proposals.supervision is None
    assert clip_map.shape[:2] == (2, dim)
    embeddings = model.embed(proposals, clip_map, (64, 96))
    assert embeddings.clip.shape == embeddings.query.shape == (2, QUERIES, dim)
    assert embeddings.query is proposals.query_embeds


def test_an_image_does_not_depend_on_the_others_in_its_batch(model, images) -> None:
    with torch.no_grad():
        together, alone = model(images)[0], model(images[1:])[0]
    torch.testing.assert_close(together.mask_logits[1:], alone.mask_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together.query_embeds[1:], alone.query_embeds, atol=1e-4, rtol=1e-4)


def test_the_last_training_logit_is_that_of_no_object(model, images) -> None:
    names = bank(model, "sea", "tree", "pink flower")
    with torch.no_grad():
        proposals, _ = model(images)
        logits = model.training_logits(proposals, names)
    assert logits.shape == (2, QUERIES, 4)
    assert torch.equal(logits[..., :3], cosine_logits(proposals.query_embeds, names.embeds)) or torch.allclose(
        logits[..., :3], cosine_logits(proposals.query_embeds, names.embeds), atol=1e-4
    )
    void = torch.cosine_similarity(proposals.query_embeds, model.no_object_embed[None, None], dim=-1) / 0.01
    torch.testing.assert_close(logits[..., 3], void, atol=1e-3, rtol=1e-4)


def test_a_step_reaches_every_trained_parameter_and_never_clip(model, images) -> None:
    model.train()
    try:
        proposals, _ = model(images)
        layers = proposals.supervision.layers
        names = bank(model, "sea", "tree")
        loss = sum(model.training_logits(p, names).square().sum() for p in layers)
        loss = loss + sum(m.square().sum() for m in proposals.supervision.mask_logits())
        loss = loss + sum(p.iou.square().sum() for p in layers)
        loss.backward()
        without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert without == []
        assert [n for n, p in model.named_parameters() if not p.requires_grad and not n.startswith("clip.")] == []
        assert all(p.grad is None and not p.requires_grad for p in model.clip.parameters())
        assert not any(m.training for m in model.clip.modules())
    finally:
        model.zero_grad(set_to_none=True)
        model.eval()


def test_prediction_is_cut_to_the_valid_part(model, images) -> None:
    batch = Batch(images, [(50, 90), (64, 96)], [0, 1], "custom")
    names = bank(model, "sea", "tree")
    keep_all = MaskFiltering(kind="iou", threshold=0)
    maps = predict(model, batch, prepare(names, names), recognizer=QueryOnly(), filtering=keep_all, overlap=0)
    assert [tuple(m.ids.shape) for m in maps] == [(50, 90), (64, 96)]
    for found in maps:
        assert {s.id for s in found.segments} == set(found.ids.unique().tolist()) - {0}
        assert all(s.area == int((found.ids == s.id).sum()) for s in found.segments)


def test_prediction_leaves_no_graph_behind_and_repeats_itself(model, images) -> None:
    batch = Batch(images, [(64, 96)] * 2, [0, 1], "custom")
    names, trained = bank(model, "sea", "tree"), bank(model, "sea", "flower")
    options = {"recognizer": EmbeddingModulation(), "filtering": MaskFiltering(kind="iou", threshold=0), "overlap": 0}
    first, second = (predict(model, batch, prepare(names, trained), **options) for _ in range(2))
    assert all(torch.equal(a.ids, b.ids) and a.segments == b.segments for a, b in zip(first, second, strict=True))
    assert all(isinstance(s.score, float) for m in first for s in m.segments)


def test_the_recognizer_decides_which_embedding_names(model, images) -> None:
    batch = Batch(images, [(64, 96)] * 2, [0, 1], "custom")
    names = bank(model, *"abcdefghij")
    names = prepare(names, names)
    seen = {}

    def spy(kind):
        def recognizer(embeddings, names, no_object):
            seen[kind] = kind()(embeddings, names, no_object)[0]
            return kind()(embeddings, names, no_object)

        return recognizer

    for kind in (QueryOnly, ClipOnly):
        predict(model, batch, names, recognizer=spy(kind), filtering=MaskFiltering(threshold=1), overlap=0)
    assert seen[QueryOnly].shape == (2, QUERIES, 10)
    assert not torch.allclose(seen[QueryOnly], seen[ClipOnly], atol=0.1)


def test_an_image_without_kept_proposals_is_all_void(model, images) -> None:
    batch = Batch(images, [(64, 96), (40, 40)], [0, 1], "custom")
    names = bank(model, "sea")
    maps = predict(model, batch, prepare(names, names), recognizer=QueryOnly(), filtering=MaskFiltering(threshold=1))
    assert [(m.segments, int(m.ids.sum()), tuple(m.ids.shape)) for m in maps] == [((), 0, (64, 96)), ((), 0, (40, 40))]


def test_batches_travel_whole(images) -> None:
    batch = Batch(images, [(64, 96)] * 2, [0, 1], "custom")
    assert dataclasses.asdict(batch.to("cpu")).keys() == dataclasses.asdict(batch).keys()


# --- a learned logit scale --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scaled(compose):
    """The same sizes, with a learned logit scale and CLIP's trunk as the backbone."""
    torch.manual_seed(0)
    cfg = compose(
        "train", "clip.model.weights=random", f"model.query_decoder.queries={QUERIES}", "output=nowhere",
        "+model.learn_logit_scale=true", "backbone=clip",
    )  # fmt: skip
    return instantiate(cfg.model, backbone=cfg.backbone, clip=cfg.clip).eval()


def test_the_learned_scale_is_that_of_training_and_recognition(scaled, images) -> None:
    names = bank(scaled, "sea", "tree")
    assert scaled.query_scale().item() == pytest.approx(1 / 0.07)
    with torch.no_grad():
        proposals, clip_map = scaled(images)
        logits = scaled.training_logits(proposals, names)
        embeddings = scaled.embed(proposals, clip_map, (64, 96))
        named, void = QueryOnly()(embeddings, prepare(names, names), scaled.no_object_embed)
    cosines = torch.cosine_similarity(proposals.query_embeds[:, :, None], names.embeds[None, None], dim=-1)
    torch.testing.assert_close(logits[..., :2], cosines / 0.07, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(torch.cat((named, void[..., None]), dim=-1), logits, atol=1e-4, rtol=1e-4)
    own = scaled.clip.text_encoder.clip.logit_scale.exp().item()
    assert embeddings.clip_scale == pytest.approx(own)
    assert own < 100


def test_the_learned_scale_has_a_gradient_up_to_100(scaled, images) -> None:
    names, before = bank(scaled, "sea", "tree"), scaled.log_logit_scale.detach().clone()
    with torch.no_grad():
        proposals, _ = scaled(images)
    try:
        for value, is_learning in ((3.0, True), (5.0, False)):
            scaled.zero_grad(set_to_none=True)
            with torch.no_grad():
                scaled.log_logit_scale.fill_(value)
            assert scaled.query_scale().item() == pytest.approx(min(math.exp(value), 100), rel=1e-5)
            scaled.training_logits(proposals, names).square().sum().backward()
            assert bool(scaled.log_logit_scale.grad) == is_learning
    finally:
        with torch.no_grad():
            scaled.log_logit_scale.copy_(before)
        scaled.zero_grad(set_to_none=True)


def test_without_a_learned_scale_both_are_100(model) -> None:
    assert (model.query_scale(), model.clip_scale()) == (100, 100)
    assert "log_logit_scale" not in model.state_dict()


def test_the_learned_scale_is_trained_saved_and_loaded(train_config, tmp_path) -> None:
    train(train_config(tmp_path / "run", "+model.learn_logit_scale=true", "backbone=clip"))
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    saved = torch.load(path, weights_only=False)["state_dict"]
    scale = saved["model.log_logit_scale"]
    assert scale.item() != pytest.approx(math.log(1 / 0.07), abs=1e-7)
    assert not [name for name in saved if name.startswith(("model.backbone.", "model.clip."))]
    loaded = load_checkpoint(path, device="cpu").model
    assert torch.equal(loaded.log_logit_scale, scale)
    assert loaded.shares_clip
    assert loaded.query_scale().item() == pytest.approx(scale.exp().item())
