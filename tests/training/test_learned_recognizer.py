"""A learned recognizer: trained, resumed, evaluated, predicted with, exported and fine-tuned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_train import stop_and_resume

import opsnet
from opsnet.checkpoint.loading import load_checkpoint
from opsnet.evaluation.run import evaluate
from opsnet.exporting.network import ExportNetwork
from opsnet.recognition.learned_modulation import LearnedModulation
from opsnet.training.run import build_module, train
from opsnet.utils.errors import CheckpointError, InputError
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.vocabulary import VocabularyError

HELD_OUT = ("orange cross", "green heart", "purple checks")
LEARNED = ["modulation=learned", f"held_out=[{','.join(HELD_OUT)}]", "losses.recognition.weight=1"]


@pytest.fixture(scope="module")
def checkpoint(train_config, tmp_path_factory) -> Path:
    """A checkpoint after eight steps."""
    folder = tmp_path_factory.mktemp("learned") / "run"
    train(train_config(folder, *LEARNED))
    return folder / "checkpoints" / "last.ckpt"


def parameters(path: Path) -> dict[str, float]:
    recognizer = load_checkpoint(path, device="cpu").recognizer
    assert type(recognizer) is LearnedModulation
    return recognizer.settings()


def test_its_parameters_are_trained_and_saved(checkpoint) -> None:
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert {k for k in state if k.startswith("recognizer.")} == {"recognizer.at_training_names", "recognizer.slopes"}
    found, start = parameters(checkpoint), LearnedModulation().settings()
    assert all(abs(found[key] - start[key]) > 1e-4 for key in start)
    assert found["alpha_slope"] == pytest.approx(float(state["recognizer.slopes"][0]))


def test_the_queries_do_not_learn_held_out_names(checkpoint, train_config, tmp_path) -> None:
    trained = load_checkpoint(checkpoint, device="cpu")
    assert set(Vocabulary.load("scenes").names) - set(trained.train_vocabulary.names) == set(HELD_OUT)
    assert float(trained.names.prepared(Vocabulary.load("scenes")).similarity) < 1
    module = build_module(train_config(tmp_path, *LEARNED), Vocabulary.load("scenes"))
    assert module.train_bank().names == trained.train_vocabulary.names
    assert len(module.quality.is_thing) == 18  # all names are validated


def test_an_interrupted_and_resumed_training_ends_with_the_same_parameters(
    checkpoint, train_config, tmp_path, monkeypatch
) -> None:
    config = train_config(tmp_path / "run", *LEARNED)
    stop_and_resume(monkeypatch, config, "on_before_optimizer_step", 6, KeyboardInterrupt)
    assert parameters(tmp_path / "run" / "checkpoints" / "last.ckpt") == parameters(checkpoint)


def test_it_is_evaluated_and_predicts_with_what_it_learned(
    checkpoint, compose, world_overrides, sample_images, tmp_path
):
    given = [f"checkpoint={checkpoint}", f"output={tmp_path}", "device=cpu", "panels=0", "details=false"]
    metrics = evaluate(compose("evaluate", *world_overrides, *given, "~data.module.test.scenes_street")).metrics
    assert any(key.startswith("scenes_novel/trained/trained/") for key in metrics)
    predictor = opsnet.load(checkpoint, device="cpu")
    predictor.save_pretrained(tmp_path / "folder")
    again = opsnet.load(tmp_path / "folder", device="cpu")
    assert again.recognizer.settings() == predictor.recognizer.settings() == parameters(checkpoint)
    a, b = (p.name(p.propose(sample_images[0]), "red circle, grass", top_k=2)[0] for p in (predictor, again))
    assert torch.equal(a.ids, b.ids)
    assert a.segments == b.segments


def test_it_is_part_of_an_exported_network(checkpoint) -> None:
    trained = load_checkpoint(checkpoint, device="cpu")
    network = ExportNetwork(trained.model, trained.names.train_bank(), trained.recognizer)
    exported = {name for name, _ in network.named_parameters() if name.startswith("recognizer.")}
    assert exported == {"recognizer.at_training_names", "recognizer.slopes"}


def test_a_fine_tuning_starts_from_what_was_learned(checkpoint, train_config, tmp_path) -> None:
    names = Vocabulary.load("scenes")
    module = build_module(train_config(tmp_path, *LEARNED, f"init_from={checkpoint}"), names)
    assert module.recognizer.settings() == parameters(checkpoint)
    other = build_module(train_config(tmp_path, f"init_from={checkpoint}"), names)
    assert list(other.recognizer.parameters()) == []


def test_weights_of_another_recognizer_are_refused(checkpoint, tmp_path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    del content["state_dict"]["recognizer.slopes"]
    torch.save(content, tmp_path / "damaged.ckpt")
    with pytest.raises(CheckpointError, match=r"damaged\.ckpt: its weights belong to another recognizer .*slopes"):
        load_checkpoint(tmp_path / "damaged.ckpt", device="cpu")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["modulation=learned"], "LearnedModulation has parameters, but no loss trains them"),
        (["losses.recognition.weight=1"], "losses.recognition trains the recognizer, but EmbeddingModulation has no p"),
        (LEARNED[::2], r"give some names of the training vocabulary by held_out=\[\.\.\.\]"),
    ],
)
def test_combinations_that_do_not_match(overrides, message, train_config, tmp_path) -> None:
    with pytest.raises(InputError, match=message):
        train(train_config(tmp_path, *overrides))


def test_a_held_out_name_that_the_data_does_not_have(train_config, tmp_path) -> None:
    with pytest.raises(VocabularyError, match="vocabulary 'scenes' has no concept 'red sphere': its names are red"):
        train(train_config(tmp_path, "held_out=[red sphere]"))


def test_a_list_of_held_out_names_is_expected(train_config, tmp_path) -> None:
    given = ["modulation=learned", "losses.recognition.weight=1", "held_out='red circle'"]
    with pytest.raises(InputError, match=r"held_out must be a list of names: give held_out=\[red circle\]"):
        train(train_config(tmp_path, *given))


def test_no_name_is_left(train_config, tmp_path) -> None:
    names = ",".join(Vocabulary.load("scenes").names)
    with pytest.raises(VocabularyError, match="nothing is left of vocabulary 'scenes'"):
        train(train_config(tmp_path, "modulation=learned", "losses.recognition.weight=1", f"held_out=[{names}]"))


def test_resuming_with_another_recognizer_is_refused_before_training(
    checkpoint, trained, train_config, tmp_path
) -> None:
    message = r"\(resume\) has another network, recognizer or losses \(2 weights differ, the first is recognizer\.at_tr"
    with pytest.raises(CheckpointError, match=message):
        train(train_config(tmp_path / "a", f"resume={checkpoint}"))
    with pytest.raises(CheckpointError, match=message):
        train(train_config(tmp_path / "b", *LEARNED, f"resume={trained.checkpoint}"))


def test_a_learned_recognizer_by_its_name_is_the_initial_one(checkpoint, caplog) -> None:
    predictor = opsnet.load(checkpoint, device="cpu", modulation="learned")
    assert predictor.recognizer.settings() == pytest.approx(LearnedModulation().settings())
    assert "'learned' has trainable parameters and is used with their initial values" in caplog.text


def test_the_recognizer_of_another_checkpoint_needs_a_setting(checkpoint, trained, compose, world_overrides, tmp_path):
    given = [f"checkpoint={trained.checkpoint}", f"recognizer_from={checkpoint}", f"output={tmp_path}", "panels=0"]
    with pytest.raises(InputError, match="`settings` has none: add one, e.g. trained/trained"):
        evaluate(compose("evaluate", *world_overrides, *given, "device=cpu", "settings=[full/cls_iou]"))
    more = ["device=cpu", "details=false", "settings=[trained/cls_iou]", "~data.module.test.scenes_street"]
    assert evaluate(compose("evaluate", *world_overrides, *given, *more)).metrics
