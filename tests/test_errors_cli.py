"""Every command exits with one sentence and code 2 for invalid input."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image

from opsnet.commands import doctor, evaluate, predict, score, train, train_clip


def one_sentence(answer: tuple[object, str], *parts: str) -> None:
    code, text = answer
    assert code == 2, text
    lines = text.strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, text
    assert lines[-1] == errors[0]
    assert "Traceback" not in text
    for part in parts:
        assert part in errors[0]


@pytest.mark.parametrize("module", [train, evaluate, predict, train_clip])
def test_a_key_that_does_not_exist(module, command) -> None:
    given = ["checkpoint=a", "image=a", "vocabulary=a"] if module is predict else []
    one_sentence(command(module.main, *given, "no_such_key=3"), "no_such_key")


@pytest.mark.parametrize(
    ("module", "override", "known"),
    [
        (train, "backbone=r500", "r50"),
        (train, "experiment=no_such", "scenes"),
        (evaluate, "data=no_such", "coco"),
        (predict, "modulation=no_such", "full"),
    ],
)
def test_an_option_that_does_not_exist(module, override, known, command) -> None:
    answer = command(module.main, override)
    one_sentence(answer, override.split("=")[1], known)
    assert "search path" not in answer[1]  # where Hydra looked says nothing that the options do not


def test_train_without_its_clip(command, tmp_path, world_overrides, world) -> None:
    run = [f"hydra.run.dir={tmp_path / 'run'}", f"clip.model.weights={tmp_path / 'no.pt'}"]
    answer = command(train.main, *world_overrides, *run)
    one_sentence(answer, str(tmp_path / "no.pt"), "opsnet-train-clip")


def test_train_on_data_that_are_not_there(command, tmp_path) -> None:
    run = [f"hydra.run.dir={tmp_path / 'run'}", f"paths.data={tmp_path}"]
    answer = command(train.main, *run, "data=coco")
    one_sentence(answer, str(tmp_path / "coco" / "annotations" / "panoptic_train2017.json"))


def test_train_with_a_checkpoint_that_is_not_there(command, tmp_path) -> None:
    answer = command(train.main, f"hydra.run.dir={tmp_path / 'run'}", f"resume={tmp_path / 'no.ckpt'}")
    one_sentence(answer, str(tmp_path / "no.ckpt"), "resume")


def test_train_with_a_batch_larger_than_the_data(command, tmp_path, world_overrides) -> None:
    run = [f"hydra.run.dir={tmp_path / 'run'}", "trainer.enable_progress_bar=false", "trainer.accelerator=cpu"]
    answer = command(train.main, *world_overrides, *run, "data.module.batch_size=33")
    one_sentence(answer, "batch_size", "32")


@pytest.fixture
def imagenet(tmp_path):
    """A folder of two images in two class folders, and labels of ImageNet's names for both."""
    for name in ("n01", "n02"):
        (tmp_path / "val" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "val" / name / f"{name}.png")
    (tmp_path / "real.json").write_text("[[0], [999]]")
    return tmp_path


@pytest.mark.parametrize(
    ("fault", "parts"),
    [
        (lambda root: (root / "real.json").write_text("[[0]]"), ["holds 2 images", "real.json labels 1", "complete"]),
        (lambda root: (root / "real.json").write_text("[[0], [1000]]"), ["n02.png", "label 1000", "numbers its names"]),
        (lambda root: shutil.rmtree(root / "val" / "n02"), ["val holds 1 images", "labels 2", "including subfolders"]),
        (lambda root: shutil.rmtree(root / "val"), ["val does not exist", "check `images`"]),
    ],
)
def test_train_on_image_labels_that_do_not_fit(fault, parts, imagenet, command, world_overrides) -> None:
    fault(imagenet)
    labels = [f"data.module.labels.images={imagenet / 'val'}", f"data.module.labels.labels={imagenet / 'real.json'}"]
    given = ["data=scenes_plus", "data.module.labels.vocabulary=imagenet1k", "image_labels=cls", *labels]
    one_sentence(command(train.main, f"hydra.run.dir={imagenet / 'run'}", *world_overrides, *given), *parts)
    assert not list((imagenet / "run").glob("*.csv"))


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["data=scenes_plus"], ["no loss uses them", "image_labels=cls"]),
        (["image_labels=cls"], ["losses.image_label_matching", "the data has none", "data=coco_imagenet"]),
        (["losses.distillation.weight=1"], ["losses.distillation", "init_from=CHECKPOINT"]),
        (["experiment=scenes_plus"], ["init_from"]),
    ],
)
def test_train_with_labels_or_losses_alone(overrides, parts, command, tmp_path, world_overrides) -> None:
    one_sentence(command(train.main, f"hydra.run.dir={tmp_path / 'run'}", *world_overrides, *overrides), *parts)


def test_train_on_image_labels_alone(command, imagenet) -> None:
    images = ["data=imagenet", f"data.module.train.images={imagenet / 'val'}"]
    answer = command(
        train.main, f"hydra.run.dir={imagenet / 'run'}", *images, f"+data.module.train.labels={imagenet / 'real.json'}"
    )
    one_sentence(answer, "has only image labels", "data=coco_imagenet")


def test_evaluate_without_a_checkpoint(command, tmp_path) -> None:
    answer = command(evaluate.main, f"hydra.run.dir={tmp_path / 'run'}")
    one_sentence(answer, "checkpoint")
    answer = command(evaluate.main, f"hydra.run.dir={tmp_path / 'run'}", f"checkpoint={tmp_path / 'no.ckpt'}")
    one_sentence(answer, str(tmp_path / "no.ckpt"), "opsnet-train")


def test_evaluate_with_an_unknown_setting(command, tmp_path) -> None:
    run = [f"hydra.run.dir={tmp_path / 'run'}", "checkpoint=a.ckpt", "settings=[half/cls]"]
    one_sentence(command(evaluate.main, *run), "half/cls", "query_only")


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["image=no.png", "vocabulary=a"], "image no.png does not exist"),
        (["image=no.png", "vocabulary="], "vocabulary"),
        (["image=no.png", "vocabulary=a, A"], "twice"),
        (["vocabulary=a"], "image"),
    ],
)
def test_predict(overrides, part, command, tmp_path) -> None:
    run = [f"hydra.run.dir={tmp_path / 'run'}", "checkpoint=a.ckpt"]
    one_sentence(command(predict.main, *run, *overrides), part)


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["vocabulary=nowhere.txt"], "nowhere.txt does not exist"),
        (["vocabulary=cat, Cat"], "the name 'cat' twice"),
        (["vocabulary=cat", "train=nowhere.json"], "nowhere.json does not exist"),
        (["vocabulary=cat", "clip.model.weights=nowhere.pt"], "nowhere.pt do not exist"),
        ([], "give data=coco (or another option of conf/data), vocabulary=my.txt, or both"),
        (["data=no_such"], "scenes"),
        (["data=coco", "limit=0"], "limit must be at least 1, got 0"),
        (["data=coco", "samples=-1"], "samples must be at least 0, got -1"),
        (["data=coco", "data.module.val.vocabulary=nowhere.txt"], "nowhere.txt does not exist"),
    ],
)
def test_doctor(overrides, part, command, tmp_path) -> None:
    run = [f"hydra.run.dir={tmp_path / 'run'}", "clip=tiny", "train=scenes"]
    one_sentence(command(doctor.main, *run, *overrides), part)


def test_score(command, tmp_path) -> None:
    def main() -> None:
        score.main(["--gt", str(tmp_path / "no.json"), "--pred", str(tmp_path / "no.json")])

    one_sentence(command(main), str(tmp_path / "no.json"))


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["top_k=two"], "top_k must be a whole number of at least 1, got 'two'"),
        (["unknown=yes"], "unknown must be a number in 0..1 or null, got 'yes'"),
        (["overlap=x"], "overlap must be a number in 0..1 or null, got 'x'"),
        (["overlap=1.5"], "overlap must lie in 0..1, got 1.5"),
        (["filtering.threshold=high"], "filtering.threshold must be a number in 0..1 or null, got 'high'"),
        (["filtering.threshold=-0.1"], "filtering.threshold must lie in 0..1, got -0.1"),
        (["shortest=small"], "shortest must be a whole number of at least 1 or auto or null"),
        (["device=banana"], "device must be auto, cpu, cuda, cuda:1 or mps, got 'banana'"),
        (["modulation.alpha=nan"], "modulation.alpha must be a number in 0..1000 or null, got nan"),
        (["modulation.beta=1e6"], "modulation.beta must lie in 0..10, got 1000000.0"),
        (["treat_label_names_as_seen=maybe"], "treat_label_names_as_seen must be true or false, got 'maybe'"),
        (["vocabulary=cocoo"], "neither a packaged vocabulary nor a .json or .txt file: did you mean coco? To use it"),
        (["vocabulary=words.tx"], "neither a packaged vocabulary nor a .json or .txt file: check the path."),
    ],
)
def test_predict_with_values_of_a_wrong_type_or_range(overrides, part, command, tmp_path) -> None:
    given = ["checkpoint=a.ckpt", "image=a.png", "vocabulary=a", f"hydra.run.dir={tmp_path / 'run'}"]
    given = [word for word in given if word.partition("=")[0] not in overrides[0]]
    one_sentence(command(predict.main, *given, *overrides), part)


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["trainer.max_steps=abc"], "trainer.max_steps must be a whole number of at least -1 or null, got 'abc'"),
        (["seed=a"], "seed must be a whole number of at least 0, got 'a'"),
        (["optim.optimizer.lr=fast"], "optim.optimizer.lr must be a number of at least 0 or null, got 'fast'"),
        (["data.module.batch_size=0"], "data.module.batch_size must be at least 1, got 0"),
        (["overlap=2"], "overlap must lie in 0..1, got 2"),
        (["modulation.alpha=nan"], "modulation.alpha must be a number in 0..1000 or null, got nan"),
    ],
)
def test_train_with_values_of_a_wrong_type_or_range(overrides, part, command, tmp_path) -> None:
    one_sentence(command(train.main, f"hydra.run.dir={tmp_path / 'run'}", *overrides), part)


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["overlap=x"], "overlap must be a number in 0..1 or null, got 'x'"),
        (["panels=-1"], "panels must be at least 0, got -1"),
        (["tune.threshold=[0,high]"], "tune.threshold must be a number in 0..1, got 'high'"),
        (["tune.overlap=7"], "tune.overlap must lie in 0..1, got 7"),
        (["filters.cls.threshold=2"], "filters.cls.threshold must lie in 0..1, got 2"),
        (["settings=[full/cls,threshold=7]"], "threshold=0.1 and overlap=0.8 (0..1)"),
        (["settings=[alpha=5,beta=1e6/cls]"], "modulation.beta in 0..10"),
        (["device=banana"], "device must be auto, cpu"),
        (["details=maybe"], "details must be true or false, got 'maybe'"),
    ],
)
def test_evaluate_with_values_of_a_wrong_type_or_range(overrides, part, command, tmp_path) -> None:
    one_sentence(command(evaluate.main, f"hydra.run.dir={tmp_path / 'run'}", "checkpoint=a.ckpt", *overrides), part)


def test_the_doctor_refuses_an_unknown_training_vocabulary_before_clip_is_loaded(command, tmp_path) -> None:
    given = ["vocabulary=coco", "train=nope", f"hydra.run.dir={tmp_path / 'run'}", "clip.model.weights=nowhere.pt"]
    answer = command(doctor.main, *given)
    one_sentence(answer, "training vocabulary 'nope' is neither a packaged vocabulary nor a file", "ade20k, ")


@pytest.mark.parametrize("name", ["epoch=3-step=100.ckpt", "my run (1), last.ckpt", "o'clock.ckpt", "[x].ckpt"])
@pytest.mark.parametrize("module", [train, evaluate, predict])
def test_a_checkpoint_with_special_letters_in_its_name(module, name, command, tmp_path) -> None:
    key = "resume" if module is train else "checkpoint"
    more = ["image=a.png", "vocabulary=a"] if module is predict else []
    (tmp_path / "a.png").write_bytes(b"")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    answer = command(module.main, f"hydra.run.dir={tmp_path / 'run'}", f"{key}={name}", *more)
    one_sentence(answer, f"{name} ", "does not exist" if module is train else "exist")


@pytest.mark.parametrize("module", [train, evaluate, predict])
def test_a_folder_with_one_checkpoint_is_answered_with_it(module, command, tmp_path) -> None:
    (tmp_path / "mine" / "checkpoints").mkdir(parents=True)
    (tmp_path / "mine" / "checkpoints" / "last.ckpt").touch()
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    key = "init_from" if module is train else "checkpoint"
    more = ["image=a.png", "vocabulary=a"] if module is predict else []
    answer = command(module.main, f"hydra.run.dir={tmp_path / 'run'}", f"{key}=mine", *more)
    one_sentence(answer, f"did you mean {key}=mine/checkpoints/last.ckpt?")


def test_init_from_is_checked_before_data_and_clip(command, tmp_path) -> None:
    nothing = [f"paths.data={tmp_path}", "data=coco", "clip.model.weights=nowhere.pt"]
    answer = command(train.main, f"hydra.run.dir={tmp_path / 'run'}", *nothing, "init_from=no.ckpt")
    one_sentence(answer, "no.ckpt (init_from) does not exist", "published weights")


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ("ade20k", ["opsnet-prepare ade20k FOLDER"]),
        ("camvid", ["opsnet-prepare camvid"]),
        ("cityscapes", ["opsnet-prepare cityscapes"]),
        ("pascal_context", ["opsnet-prepare pascal_context FOLDER"]),
        ("own", ["opsnet-prepare own ... set=train"]),
        ("coco", ["unpack the dataset there as distributed", "docs/datasets.md"]),
    ],
)
def test_a_missing_dataset_is_answered_with_how_to_get_it(data, parts, command, tmp_path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "vocabulary.json").write_text('["cat"]')
    given = [f"hydra.run.dir={tmp_path / 'run'}", f"paths.data={tmp_path}", f"data={data}"]
    one_sentence(command(train.main, *given), "does not exist", *parts)
