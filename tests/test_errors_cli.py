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
