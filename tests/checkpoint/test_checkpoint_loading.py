"""Loading restores the trained network; invalid checkpoints are refused with their path."""

from __future__ import annotations

import pytest
import torch

import opsnet
from opsnet.checkpoint.loading import check_resume, load_checkpoint, load_initial_weights, read_inference
from opsnet.clip.loading import ClipWeightsError
from opsnet.evaluation.run import evaluate
from opsnet.inference.config import FULL
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.recognition.modulation import QueryOnly
from opsnet.training.run import build_module, train
from opsnet.utils.errors import CheckpointError
from opsnet.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def loaded(trained):
    return load_checkpoint(trained.checkpoint, device="cpu")


def test_it_is_ready_to_predict(loaded) -> None:
    assert not any(m.training for m in loaded.model.modules())
    assert loaded.overlap == 0.8
    assert loaded.train_vocabulary == Vocabulary.load("scenes")


def test_every_weight_is_the_trained_one(loaded, trained, train_config, tmp_path) -> None:
    state = torch.load(trained.checkpoint, weights_only=False)["state_dict"]
    own = loaded.model.state_dict()
    assert {k.removeprefix("model.") for k in state if k.startswith("model.")} == {
        k for k in own if not k.startswith("clip.")
    }
    assert all(torch.equal(own[k.removeprefix("model.")], v) for k, v in state.items() if k.startswith("model."))
    module = build_module(train_config(tmp_path), loaded.train_vocabulary)
    assert module.model.clip.weights_hash == loaded.model.clip.weights_hash
    module.load_state_dict({**module.state_dict(), **state})
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(module.model.eval()(images)[0].query_embeds, loaded.model(images)[0].query_embeds)


def test_text_is_encoded_with_the_clip_of_the_checkpoint(loaded) -> None:
    bank = loaded.names.bank(Vocabulary.from_names(["sea", "a tree"]))
    assert bank.embeds.shape == (2, loaded.model.clip.embed_dim)
    assert bank.embeds.norm(dim=1).tolist() == pytest.approx([1, 1])


def test_best_is_loaded_as_well_as_last(trained) -> None:
    assert load_checkpoint(trained.folder / "checkpoints" / "best.ckpt", device="cpu").overlap == 0.8


def test_a_checkpoint_from_before_it_held_the_rules_was_the_miniatures(trained, tmp_path) -> None:
    checkpoint = torch.load(trained.checkpoint, weights_only=True)
    del checkpoint["opsnet"]["config"]["inference"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    loaded = load_checkpoint(tmp_path / "old.ckpt", device="cpu")
    inference = loaded.inference
    assert (loaded.recognizer.alpha, loaded.recognizer.beta) == (10, 0.5)
    assert inference.mask_filtering.settings() == MaskFiltering(kind="cls_iou", threshold=0.05).settings()
    assert {name: changes["threshold"] for name, changes in inference.filters.items()} == {
        "cls": 0.4, "iou": 0.1, "cls_iou": 0.05,
    }  # fmt: skip
    assert (inference.overlap, inference.shortest, inference.longest) == (0.8, None, 1333)


def test_a_checkpoint_from_before_it_named_its_recognizer_has_the_papers(trained, tmp_path) -> None:
    checkpoint = torch.load(trained.checkpoint, weights_only=True)
    del checkpoint["opsnet"]["config"]["inference"]["recognizer"]
    # As it was then: the folder of the machine that trained, and parts that name no weights.
    checkpoint["opsnet"]["config"]["clip"]["text_cache"] = str(tmp_path / "cache")
    checkpoint["opsnet"]["config"]["backbone"].update(pretrained=False, weights=None)
    torch.save(checkpoint, tmp_path / "old.ckpt")
    loaded = load_checkpoint(tmp_path / "old.ckpt", device="cpu")
    assert loaded.inference.recognizer == FULL
    assert (loaded.recognizer.alpha, loaded.recognizer.beta) == (10, 0.5)
    loaded.names.bank(loaded.train_vocabulary)
    assert not (tmp_path / "cache").exists()


def test_it_is_used_with_the_recognizer_that_it_was_trained_with(lenient_checkpoint, sample_images, tmp_path) -> None:
    checkpoint = torch.load(lenient_checkpoint, weights_only=True)
    checkpoint["opsnet"]["config"]["inference"]["recognizer"] = {"_target_": f"{QueryOnly.__module__}.QueryOnly"}
    torch.save(checkpoint, tmp_path / "query_only.ckpt")
    filtering = MaskFiltering(kind="iou", threshold=0)
    predictor = opsnet.load(tmp_path / "query_only.ckpt", device="cpu", filtering=filtering)
    assert type(predictor.recognizer) is QueryOnly
    proposed = predictor.propose(sample_images[0])
    words = "red circle, green stripes, pink flower, blue waves"
    (own,), (query,), (full,) = (
        predictor.name(proposed, words, modulation=name, top_k=4) for name in (None, "query_only", "full")
    )
    assert own.segments == query.segments != full.segments
    predictor.save_pretrained(tmp_path / "folder")
    assert type(opsnet.load(tmp_path / "folder", device="cpu").recognizer) is QueryOnly
    assert type(opsnet.load(tmp_path / "query_only.ckpt", device="cpu", modulation="full").recognizer) is not QueryOnly


def test_a_training_stores_its_recognizer_and_its_evaluation_takes_it(
    train_config, compose, world_overrides, tmp_path
) -> None:
    train(train_config(tmp_path / "run", "modulation=query_only", "trainer.max_epochs=1"))
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert type(load_checkpoint(path, device="cpu").recognizer) is QueryOnly
    given = [f"checkpoint={path}", f"output={tmp_path / 'out'}", "device=cpu", "panels=0", "tune.threshold=[0]"]
    metrics = evaluate(compose("evaluate", *world_overrides, *given, "~data.module.test.scenes_street")).metrics
    assert {key.partition("/")[2].rpartition("/")[0] for key in metrics} == {"query_only/trained,threshold=0"}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda c: c["state_dict"].pop("model.no_object_embed"),
            "another network .1 weights differ, the first is no_object_embed",
        ),
        (
            lambda c: c["state_dict"]["model.no_object_embed"].fill_(float("nan")),
            "model.no_object_embed contains NaN or infinity",
        ),
        (lambda c: c["state_dict"].clear(), r"another network \(\d+ weights differ"),
        (lambda c: c["opsnet"]["config"].pop("vocabulary"), "has vocabulary = None"),
        (
            lambda c: c["opsnet"]["config"]["vocabulary"].update(categories=[3]),
            "its vocabulary is not a list of categories",
        ),
        (lambda c: c["opsnet"]["config"]["inference"].update(filtering={"kind": "x"}), "`inference` .* cannot be used"),
        (lambda c: c["opsnet"]["config"]["inference"].update(shortest="x"), "`inference` .* cannot be used"),
        (lambda c: c["opsnet"]["config"]["model"]["query_decoder"].update(queries="x"), "no network can be built from"),
        (lambda c: c["opsnet"]["config"]["inference"]["recognizer"].update(alpha=-1), "recognizer cannot be used"),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name(damage, message: str, trained, tmp_path) -> None:
    checkpoint = torch.load(trained.checkpoint, weights_only=True)
    damage(checkpoint)
    torch.save(checkpoint, tmp_path / "damaged.ckpt")
    with pytest.raises(CheckpointError, match=rf"damaged\.ckpt.*{message}"):
        load_checkpoint(tmp_path / "damaged.ckpt", device="cpu")


def test_a_clip_that_is_gone_is_asked_for(trained, tmp_path) -> None:
    checkpoint = torch.load(trained.checkpoint, weights_only=True)
    checkpoint["opsnet"]["config"]["clip"]["model"]["weights"] = "/nowhere/tiny.pt"
    torch.save(checkpoint, tmp_path / "some.ckpt")
    with pytest.raises(ClipWeightsError, match="/nowhere/tiny.pt do not exist: give clip_weights=PATH"):
        opsnet.load(tmp_path / "some.ckpt", device="cpu")
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(ClipWeightsError, match=r"text\.pt do not fit"):
        opsnet.load(tmp_path / "some.ckpt", device="cpu", clip_weights=tmp_path / "text.pt")


def test_names_of_image_labels_count_as_known_if_asked(trained, tmp_path) -> None:
    checkpoint = torch.load(trained.checkpoint, weights_only=True)
    labels = Vocabulary.from_names(["red circle", "blue moon"], "labels")
    checkpoint["opsnet"]["config"]["label_vocabulary"] = {"name": labels.name, "categories": labels.categories()}
    torch.save(checkpoint, tmp_path / "plus.ckpt")
    scenes = Vocabulary.load("scenes")
    assert load_checkpoint(tmp_path / "plus.ckpt", device="cpu").train_vocabulary == scenes
    known = load_checkpoint(tmp_path / "plus.ckpt", device="cpu", treat_label_names_as_seen=True).train_vocabulary
    assert known.names == (*scenes.names, "blue moon")
    with pytest.raises(
        CheckpointError, match=r"last\.ckpt was trained without image labels: give treat_label_names_as_seen"
    ):
        load_checkpoint(trained.checkpoint, device="cpu", treat_label_names_as_seen=True)


def test_another_folder_does_not_matter(trained, tmp_path, monkeypatch) -> None:
    moved = tmp_path / "moved.ckpt"
    moved.write_bytes(trained.checkpoint.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPSNET_DATA", "/nowhere")
    assert load_checkpoint("moved.ckpt", device="cpu").train_vocabulary.name == "scenes"


def test_a_truncated_checkpoint_is_named(trained, tmp_path) -> None:
    (tmp_path / "half.ckpt").write_bytes(trained.checkpoint.read_bytes()[:10_000])
    with pytest.raises(CheckpointError, match=r"half\.ckpt is not an OPSNet checkpoint"):
        load_checkpoint(tmp_path / "half.ckpt", device="cpu")


# --- to resume, and to fine-tune --------------------------------------------------------------------------------------


def test_a_checkpoint_of_another_clip_is_refused_before_training(trained, train_config, world, tmp_path) -> None:
    config = train_config(
        tmp_path / "run", f"resume={trained.checkpoint}", f"clip.model.weights={world.other_clip}"
    )  # fmt: skip
    with pytest.raises(CheckpointError, match=rf"{trained.checkpoint} was trained with CLIP weights \w{{12}}-\w{{6}},"):
        train(config)
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_a_file_that_is_no_checkpoint_is_refused_by_name(train_config, tmp_path) -> None:
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match=r"text\.ckpt \(resume\) is not an OPSNet checkpoint"):
        train(train_config(tmp_path / "run", f"resume={tmp_path / 'text.ckpt'}"))


def test_a_checkpoint_of_other_data_is_refused(trained) -> None:
    checkpoint = torch.load(trained.checkpoint, weights_only=True)
    check_resume(trained.checkpoint, checkpoint["opsnet"]["clip_hash"], streams=1)
    with pytest.raises(CheckpointError, match=r"last\.ckpt \(resume\) was trained on 1 streams of images, but data "):
        check_resume(trained.checkpoint, checkpoint["opsnet"]["clip_hash"], streams=2)


@pytest.fixture
def build(train_config, tmp_path):
    def built(*overrides: str):
        return build_module(train_config(tmp_path / "run", *overrides), Vocabulary.load("scenes")).model

    return built


def test_the_weights_are_those_of_the_checkpoint(build, trained) -> None:
    model = build(f"init_from={trained.checkpoint}")
    state, own = torch.load(trained.checkpoint, weights_only=True)["state_dict"], model.state_dict()
    assert all(torch.equal(own[k.removeprefix("model.")], v) for k, v in state.items() if k.startswith("model."))
    fresh = build()
    assert not torch.equal(fresh.no_object_embed, model.no_object_embed)
    load_initial_weights(fresh, trained.checkpoint)
    assert torch.equal(fresh.no_object_embed, model.no_object_embed)


def test_weights_that_a_network_would_start_from_are_not_asked_for(build, trained, tmp_path) -> None:
    model = build(f"init_from={trained.checkpoint}", f"model.weights={tmp_path / 'no.safetensors'}")
    assert torch.equal(model.no_object_embed, build(f"init_from={trained.checkpoint}").no_object_embed)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["init_from=no.ckpt"], r"checkpoint no\.ckpt \(init_from\) does not exist"),
        (["init_from={text}"], r"text\.ckpt \(init_from\) is not an OPSNet checkpoint"),
        (["init_from={trained}", "clip.model.weights={other}"], r"\(init_from\) was trained with CLIP weights"),
        (
            ["init_from={trained}", "model.query_decoder.queries=9"],
            r"another network \(2 weights differ, the first is q",
        ),
        (["init_from={trained}", "model.query_decoder.layers=2"], r"another network .* the first is query_decoder\."),
    ],
)
def test_what_cannot_be_started_from_is_named(overrides, message, build, trained, world, tmp_path) -> None:
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    places = {"trained": trained.checkpoint, "other": world.other_clip, "text": tmp_path / "text.ckpt"}
    with pytest.raises(CheckpointError, match=message):
        build(*(o.format(**places) for o in overrides))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"overlap": float("nan")}, "an overlap of nan"),
        ({"overlap": 7.0}, r"an overlap of 7\.0"),
        ({"shortest": 10**9}, "an edge of 1000000000 pixels"),
        ({"longest": 0}, "an edge of 0 pixels"),
    ],
)
def test_stored_settings_that_would_find_nothing_or_take_all_memory_are_refused(change: dict, message: str) -> None:
    config = {"overlap": 0.8, "inference": {"filtering": {"kind": "cls_iou", "threshold": 0.05}}}
    assert read_inference(config, "last.ckpt").overlap == 0.8
    if "overlap" not in change:
        change = {"inference": {**config["inference"], **change}}
    with pytest.raises(CheckpointError, match=message):
        read_inference({**config, **change}, "last.ckpt")
