"""The predictor: its two stages, vocabularies, batches and threads."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import opsnet
from opsnet.inference import names as names_module
from opsnet.inference.network_output import NetworkOutput
from opsnet.inference.segment import predict
from opsnet.inference.semantic import class_probabilities, mask_probabilities, semantic_scores
from opsnet.inference.settings import parse_filtering
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction import predictor as module
from opsnet.prediction.images import NetworkSize
from opsnet.prediction.predictor import Predictor
from opsnet.prediction.words import as_words
from opsnet.prediction.writing import for_task
from opsnet.recognition.modulation import ClipOnly, EmbeddingModulation
from opsnet.utils.errors import CheckpointError, InputError
from opsnet.vocabulary.vocabulary import Vocabulary, VocabularyError

WORDS = "red circle, green stripes, blue square, grass"


def same(a, b) -> bool:
    return torch.equal(a.ids, b.ids) and a.segments == b.segments


def test_load_a_checkpoint(lenient_checkpoint, lenient_model) -> None:
    loaded = opsnet.load(lenient_checkpoint, device="cpu", modulation="alpha=3,beta=0", filtering="iou")
    assert isinstance(loaded, opsnet.Predictor)
    assert (loaded.recognizer.alpha, loaded.recognizer.beta) == (3, 0)
    assert loaded.filtering.kind == "iou"
    assert loaded.train_vocabulary == lenient_model.train_vocabulary


def test_recognizers_run_on_the_device_of_the_network_and_not_in_training_mode(predictor, monkeypatch) -> None:
    """One that a name describes is built on the CPU; "meta" is the other device that every machine has."""
    monkeypatch.setattr(Predictor, "device", torch.device("meta"))
    found = Predictor(predictor.trained, modulation="learned").recognizer
    assert {p.device.type for p in found.parameters()} == {"meta"}
    assert not found.training


def test_load_says_what_is_missing(tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"no\.ckpt does not exist"):
        opsnet.load(tmp_path / "no.ckpt")
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        opsnet.load(tmp_path)


def test_the_map_equals_that_of_the_inference_path(predictor, sample_images) -> None:
    found = predictor(sample_images[0], WORDS)
    model, words = predictor.trained.model, Vocabulary.load(WORDS)
    batch = module.to_batch([sample_images[0]])
    expected = predict(
        model,
        batch,
        predictor.trained.names.prepared(words),
        recognizer=EmbeddingModulation(),
        filtering=predictor.filtering,
        overlap=0.0,
    )[0]
    assert len(expected.segments) > 0
    assert torch.equal(found.ids, expected.ids)
    assert [(s.label, s.area) for s in found.segments] == [(s.label, s.area) for s in expected.segments]


def test_an_image_does_not_depend_on_the_others_in_its_batch(predictor, sample_images) -> None:
    together = predictor(sample_images, WORDS, top_k=2)
    assert [m.ids.shape for m in together] == [(53, 37), (64, 64), (40, 60)]
    for image, found in zip(sample_images, together, strict=True):
        alone = predictor(image, WORDS).ids
        # Rounding differs with the batch size, which changes a pixel now and then.
        assert (alone != found.ids).float().mean() <= 0.01


def test_another_strength_or_vocabulary_needs_no_network(predictor, sample_images, monkeypatch) -> None:
    proposed = predictor.propose(sample_images[0])
    expected = predictor(sample_images[0], WORDS, modulation="clip_only", top_k=3)

    def refuse(*_, **__):
        raise AssertionError("the network ran")

    monkeypatch.setattr(predictor.trained.model, "forward", refuse)
    assert same(predictor.name(proposed, WORDS, modulation=ClipOnly(), top_k=3)[0], expected)
    other = predictor.name(proposed, ["sea", "a  tree"], filtering=MaskFiltering(kind="iou", threshold=0))[0]
    assert other.vocabulary.names == ("sea", "a tree")


def test_text_is_cached_and_the_oldest_entries_are_dropped(predictor, monkeypatch) -> None:
    calls = []
    prepare = names_module.prepare
    monkeypatch.setattr(names_module, "prepare", lambda t, *rest: calls.append(t.names) or prepare(t, *rest))
    monkeypatch.setattr(names_module, "CACHED", 2)
    for words in ("a, b", "a, b", "c, d", "e, f", "a, b"):
        predictor.text(Vocabulary.load(words))
    assert calls == [("a", "b"), ("c", "d"), ("e", "f"), ("a", "b")]


def test_concurrent_users_get_their_own_maps(predictor, sample_images) -> None:
    asked = [(sample_images[i % 3], f"word {i}, grass, red circle", f"alpha={i},beta=0.5") for i in range(8)]
    alone = [predictor(p, words, modulation=mix, top_k=2) for p, words, mix in asked]
    fresh = Predictor(predictor.trained, filtering=predictor.filtering)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda a: fresh(a[0], a[1], modulation=a[2], top_k=2), asked))
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))


def test_maps_of_large_images_keep_their_size(lenient_model) -> None:
    image = np.random.default_rng(0).integers(0, 255, (120, 90, 3), dtype=np.uint8)
    small = Predictor(lenient_model, filtering=MaskFiltering(threshold=0), longest=64)
    proposed = small.propose(image)
    assert proposed.padded == (64, 64)
    assert proposed.valid_sizes == ((64, 48),)
    found = small.name(proposed, WORDS)[0]
    assert found.ids.shape == (120, 90)
    assert sum(s.area for s in found.segments) == int((found.ids > 0).sum()) > 0


def test_maps_of_resized_images_are_those_of_evaluation(lenient_model) -> None:
    image = np.random.default_rng(0).integers(0, 255, (120, 90, 3), dtype=np.uint8)
    small = Predictor(lenient_model, filtering=MaskFiltering(threshold=0), longest=64)
    batch = module.to_batch([image], size=NetworkSize(longest=64))
    assert (batch.valid_sizes, batch.original_sizes) == ([(64, 48)], [(120, 90)])
    names = lenient_model.names.prepared(Vocabulary.load(WORDS))
    expected = predict(
        lenient_model.model, batch, names, recognizer=EmbeddingModulation(), filtering=small.filtering, overlap=0.0
    )[0]
    assert torch.equal(small(image, WORDS).ids, expected.ids)
    assert len(expected.segments) > 0


@pytest.mark.parametrize(
    ("words", "names"),
    [("sea, tree", ("sea", "tree")), (["sea, salt"], ("sea, salt",)), (Vocabulary.load("sea"), ("sea",))],
)
def test_class_names_in_every_form(words, names) -> None:
    assert as_words(words).names == names


def test_a_tree_in_a_file(predictor, sample_images, tmp_path) -> None:
    (tmp_path / "tree.yaml").write_text("thing: {circle: [red circle, blue circle], square: }\nstuff: [grass]\n")
    found = predictor(sample_images[0], tmp_path / "tree.yaml", path_margin=0)
    assert found.segments
    for segment in found.segments:
        assert [n.name for n in segment.path][-1] == segment.name
        assert segment.path[0].name == ("thing" if segment.is_thing else "stuff")


def embedded_as(output: NetworkOutput, text: torch.Tensor) -> NetworkOutput:
    """A hardly trained network has the same name everywhere: here the masks are of the left and the right half in turn,
    and their embeddings those of the names (M, D)."""
    masks = torch.full_like(output.proposals.mask_logits, -2.0)
    middle = masks.shape[-1] // 2
    masks[:, ::2, :, :middle] = masks[:, 1::2, :, middle:] = 2.0
    embeds = text[torch.arange(masks.shape[1]) % len(text)][None]
    proposals = dataclasses.replace(output.proposals, mask_logits=masks, query_embeds=embeds)
    return dataclasses.replace(output, proposals=proposals, clip={"pooling": embeds})


def test_semantic_maps_of_both_rules(predictor, sample_images) -> None:
    names = predictor.prepared(as_words(WORDS))
    proposed = embedded_as(predictor.propose(sample_images[:1]), names.target.embeds)
    merged = predictor.name(proposed, WORDS, task="semantic")[0]
    assert same(merged, for_task(predictor.name(proposed, WORDS)[0], "semantic"))
    found = predictor.name(proposed, WORDS, task="semantic", semantic="proposals")[0]
    logits = predictor.recognizer(proposed.embeddings(), names, predictor.trained.model.no_object_embed)
    classes, sizes = class_probabilities(*logits)[0], (proposed.valid_sizes[0], proposed.map_sizes[0])
    labels = semantic_scores(
        mask_probabilities(proposed.proposals.mask_logits[0], proposed.padded, *sizes), classes
    ).argmax(0)
    assert len(labels.unique()) > 1
    assert torch.equal(torch.tensor([0, *(s.label for s in found.segments)])[found.ids], labels)
    assert [s.id for s in found.segments] == found.ids.unique().tolist()
    own = Predictor(predictor.trained, semantic="proposals")  # with any filter
    assert same(own.name(proposed, WORDS, task="semantic", filtering=MaskFiltering(threshold=1))[0], found)
    assert same(
        own.name(proposed, WORDS, task="semantic", semantic="panoptic", filtering=predictor.filtering)[0], merged
    )
    assert same(own.name(proposed, WORDS, filtering=predictor.filtering)[0], predictor.name(proposed, WORDS)[0])
    with pytest.raises(InputError, match="semantic must be panoptic or proposals, got x"):
        Predictor(predictor.trained, semantic="x")


def test_bad_input(predictor, sample_images) -> None:
    with pytest.raises(VocabularyError, match="empty"):
        predictor(sample_images[0], "")
    with pytest.raises(InputError, match="there is no image"):
        predictor.propose([])
    assert predictor([], WORDS) == []
    with pytest.raises(InputError, match="top_k must be at least 1"):
        predictor(sample_images[0], WORDS, top_k=0)
    with pytest.raises(InputError, match="no modulation 'half'"):
        predictor(sample_images[0], WORDS, modulation="half")
    with pytest.raises(InputError, match="longest must be at least 1"):
        Predictor(predictor.trained, longest=0)
    with pytest.raises(InputError, match="no filtering 'x'"):
        parse_filtering("x")


def test_the_package_itself_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = "import sys, opsnet; assert 'torch' not in sys.modules; opsnet.nothing"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "has no attribute 'nothing'" in found.stderr


def test_the_former_name_of_treat_label_names_as_seen_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="label_names_known was renamed: give treat_label_names_as_seen"):
        Predictor.from_pretrained(tmp_path, label_names_known=True)
