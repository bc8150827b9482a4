"""The predictor: its two stages, vocabularies, batches and threads."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import opsnet
from opsnet.inference import names as names_module
from opsnet.inference.network_output import NetworkOutput
from opsnet.inference.segment import predict
from opsnet.inference.semantic import class_probabilities, mask_probabilities, semantic_scores
from opsnet.inference.settings import parse_filtering
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction import images as images_module
from opsnet.prediction import predictor as module
from opsnet.prediction.images import NetworkSize
from opsnet.prediction.predictor import Predictor
from opsnet.prediction.task_maps import for_task
from opsnet.prediction.words import as_words
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
    [("sea, tree", ("sea", "tree")), (["sea, salt"], ("sea",)), (Vocabulary.load("sea"), ("sea",))],
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


def test_the_former_name_of_treat_label_names_as_seen_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="label_names_known was renamed: give treat_label_names_as_seen"):
        Predictor.from_pretrained(tmp_path, label_names_known=True)


# --- results and inputs of the API ------------------------------------------------------------------------------------


def test_results_have_their_image(predictor, sample_images, tmp_path) -> None:
    Image.fromarray(sample_images[0]).save(tmp_path / "a.png")
    found = predictor(tmp_path / "a.png", WORDS)
    assert found.file_name == "a.png"
    assert np.array_equal(found.image, sample_images[0])
    assert found.plot().size[0] >= 37
    assert predictor(tmp_path / "a.png", WORDS, task="semantic", semantic="proposals").task == "semantic"
    proposed = predictor.propose([tmp_path / "a.png", sample_images[1]])
    assert [r.file_name for r in predictor.name(proposed, WORDS)] == ["a.png", "image_1.png"]
    assert repr(proposed) == f"Proposed(2 x {proposed.proposals.iou.shape[1]} proposals: a.png, image_1.png)"
    bare = NetworkOutput(**{f.name: getattr(proposed, f.name) for f in dataclasses.fields(NetworkOutput)})
    assert predictor.name(bare, WORDS)[0].image is None


@pytest.fixture
def folder(sample_images, tmp_path) -> Path:
    path = tmp_path / "images"
    path.mkdir()
    for name, pixels in zip("acd", sample_images, strict=True):
        Image.fromarray(pixels).save(path / f"{name}.png")
    (path / "b.png").write_text("not an image")
    return path


def test_a_folder_is_read_as_it_goes(predictor, folder, monkeypatch) -> None:
    read = []
    read_rgb = images_module.read_rgb
    monkeypatch.setattr(images_module, "read_rgb", lambda path: read.append(path.name) or read_rgb(path))
    results = predictor(folder, WORDS, batch_size=1)
    assert read == []
    first = next(results)
    assert (first.file_name, read) == ("a.png", ["a.png"])
    with pytest.warns(UserWarning, match=r"skipped: .*b\.png cannot be read as an image"):
        rest = list(results)
    assert [r.file_name for r in rest] == ["c.png", "d.png"]
    for result in (first, *rest):
        assert same(result, predictor(folder / result.file_name, WORDS))
    pattern = predictor(f"{folder}/[ac].png", WORDS)
    assert [r.file_name for r in pattern] == ["a.png", "c.png"]


def test_a_video_is_read_frame_by_frame(predictor, clip) -> None:
    found = list(predictor(clip, WORDS, batch_size=3))
    assert [r.file_name for r in found] == [f"my clip_{i:06d}.png" for i in range(4)]
    assert [r.image[24:, 32:].mean().round(-1) for r in found] == [20, 90, 160, 230]
    assert all(r.ids.shape == (48, 64) for r in found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top_k": 2.5}, "top_k must be a whole number of at least 1, got 2.5"),
        ({"top_k": True}, "top_k must be at least 1, got True"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"path_margin": float("nan")}, r"path_margin must lie in 0\.\.1, got nan"),
        ({"unknown": 0.1}, r"unknown must be None or a rule such as UnknownRule\(margin=0\.1\), got 0\.1"),
        ({"vocabulary": None}, "vocabulary must be names separated by commas, .* or a list of names, got None"),
        ({"vocabulary": 5}, "got 5"),
        ({"vocabulary": b"sea"}, "got b'sea'"),
        ({"vocabulary": ["sea", None]}, "its names texts, got None"),
        ({"modulation": 5}, "modulation must be text such as 'alpha=5,beta=0.25' or a Recognizer, got 5"),
        ({"modulation": EmbeddingModulation}, "or a Recognizer, got <class"),
        ({"modulation": "alpha=10,beta=1e6"}, r"modulation\.beta in 0\.\.10, got 10\.0 and 1000000\.0"),
        ({"filtering": 0.5}, "filtering must be text such as 'cls_iou,threshold=0.1' or a MaskFiltering, got 0.5"),
        (
            {"filtering": "cls_iou,threshold=nan"},
            r"'cls_iou,threshold=nan': .* threshold=0\.1 and overlap=0\.8 \(0\.\.1\)",
        ),
        (
            {"filtering": "cls_iou,threshold=50"},
            r"'cls_iou,threshold=50': .* threshold=0\.1 and overlap=0\.8 \(0\.\.1\)",
        ),
        ({"filtering": "cls_iou,x=1"}, "the options of a filter are threshold=0.1"),
        ({"filtering": "cls_iou,overlap=0.7"}, r"overlap is no option of the filter: give it to Predictor\("),
        ({"task": "depth"}, "task must be one of panoptic, semantic, instance, got 'depth'"),
        ({"images": "/dev/null/x"}, "image /dev/null/x does not exist"),
    ],
)
def test_arguments_out_of_range_are_refused_before_the_network_runs(predictor, arguments, message, monkeypatch) -> None:
    monkeypatch.setattr(predictor.trained.model, "forward", lambda *_, **__: pytest.fail("the network ran"))
    given = {"images": np.zeros((8, 8, 3), np.uint8), "vocabulary": WORDS, **arguments}
    with pytest.raises(InputError, match=message):
        predictor(**given)


def test_a_folder_without_images_is_refused_at_once(predictor, tmp_path) -> None:
    """Not when the first result is taken."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"image folder .*empty has no images"):
        predictor(tmp_path / "empty", WORDS)
    with pytest.raises(InputError, match="top_k must be at least 1"):
        predictor(str(tmp_path), WORDS, top_k=0)
    with pytest.raises(InputError, match=r"propose\(\) takes an image or a list"):
        Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
        predictor.propose(tmp_path)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("threshold", r"has no argument threshold: .* give filtering='cls_iou,threshold=0\.1'"),
        ("alpha", r"give modulation='alpha=5,beta=0\.25'"),
        ("overlap", r"give Predictor\(predictor\.trained, overlap=0\.8\)"),
        ("topk", r"has no argument topk: did you mean top_k\?"),
        ("zzz", r"has no argument zzz: its arguments are images, vocabulary, top_k"),
    ],
)
def test_unknown_arguments_say_which_are_meant(predictor, key, message) -> None:
    with pytest.raises(TypeError, match=message):
        predictor(np.zeros((8, 8, 3), np.uint8), WORDS, **{key: 1})


def test_load_and_save_name_their_argument(predictor, lenient_checkpoint, tmp_path) -> None:
    for wrong in (None, 5, ""):
        with pytest.raises(InputError, match=r"path_or_hub_id must be a path .* got"):
            opsnet.load(wrong)
    with pytest.raises(TypeError, match="label_names_known: it was renamed: give treat_label_names_as_seen"):
        opsnet.load(lenient_checkpoint, label_names_known=True)
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match=r"save_directory .*file is a file: give a folder"):
        predictor.save_pretrained(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"
    with pytest.raises(InputError, match=r"trained must be a network, got str: call opsnet\.load\(PATH\)"):
        Predictor("last.ckpt")
    for wrong in (-0.1, 1.5, float("nan"), "a"):
        with pytest.raises(InputError, match=r"overlap must .* 0\.\.1"):
            Predictor(predictor.trained, overlap=wrong)


def test_a_filter_with_options_as_the_docstring_promises(predictor, sample_images) -> None:
    chosen = Predictor(predictor.trained, filtering="iou, threshold=0.9, compete=cls").filtering
    assert chosen.settings() == MaskFiltering(kind="iou", threshold=0.9, compete="cls").settings()
    assert parse_filtering("trained,threshold=0.3", trained=chosen).settings()["compete"] == "cls"
    assert predictor(sample_images[0], WORDS, filtering="cls_iou,threshold=1").segments == ()
    assert predictor(sample_images[0], WORDS, filtering="cls_iou,threshold=0").segments
