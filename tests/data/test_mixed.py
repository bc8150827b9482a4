"""Two streams side by side: epochs of their own, shares of their own, and both go on where a run was killed."""

from __future__ import annotations

import json
import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from PIL import Image
from ranks import on_two_ranks

from opsnet.data.image_label_dataset import ImageLabelDataset
from opsnet.data.mixed import MixedDataModule
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.data.transforms import TrainTransform
from opsnet.structures import ImageLabels, SegmentTargets
from opsnet.utils.errors import DatasetError
from opsnet.vocabulary import Vocabulary

PETS = Vocabulary.from_names(["cat", "dog", "grass"], "pets")
EPOCHS, STEPS, LABEL_EPOCH = 3, 3, 4  # ten panoptic images in batches of three; nine labelled ones in batches of two


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def labels(tmp_path: Path) -> partial:
    """Nine images with one label each."""
    folder = tmp_path / "labelled"
    folder.mkdir()
    for k in range(9):
        pixels = np.full((8, 8, 3), k, np.uint8) + np.arange(0, 160, 20, dtype=np.uint8)[:, None]
        Image.fromarray(pixels).save(folder / f"{k}.png")
    (tmp_path / "real.json").write_text(json.dumps([[k % 3] for k in range(9)]))
    return partial(ImageLabelDataset, images=folder, labels=tmp_path / "real.json", vocabulary=PETS)


def make_data(ten, labels, **options) -> MixedDataModule:
    """Both streams, augmented, without the tests' reading of every file."""
    transform = TrainTransform(size=8, scale=(1.0, 1.5))
    sizes = {"batch_size": 3, "label_batch_size": 2, "size_divisor": 8, "check_files": False}
    train = partial(PanopticDataset, **ten.options, transform=transform)
    return MixedDataModule(train=train, labels=partial(labels, transform=transform), **{**sizes, **options})


Step = tuple[tuple[object, ...], tuple[object, ...]]


class Recorder(LightningModule):
    """Notes ids and weighted sums of pixels of both parts of its batches; may raise at a step."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.stop_at, self.seen = stop_at, []

    def training_step(self, batch, batch_idx):
        if self.global_step == self.stop_at:
            raise InterruptedError
        self.seen.append(tuple(described(batch[key]) for key in ("panoptic", "labels")))
        return self.weight * 1.0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def described(batch) -> tuple[object, ...]:
    places = torch.arange(batch.images[0].numel()).view_as(batch.images[0])
    return (*batch.image_ids, *(batch.images * places).flatten(1).sum(1).tolist())


def fit(model: Recorder, data: MixedDataModule, root: Path, *callbacks: Callback, resume=None, **options) -> None:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    options = {"max_epochs": EPOCHS, "enable_checkpointing": bool(callbacks), **options}
    Trainer(default_root_dir=root, callbacks=list(callbacks), **quiet, **options).fit(
        model, datamodule=data, ckpt_path=resume
    )


@pytest.fixture
def whole(ten, labels, tmp_path) -> list[Step]:
    """What an uninterrupted run sees."""
    model = Recorder()
    fit(model, make_data(ten, labels), tmp_path)
    return model.seen


def test_a_step_has_one_batch_of_each_kind_with_a_vocabulary_of_its_own(ten, labels) -> None:
    data = make_data(ten, labels)
    data.setup("fit")
    assert set(data.vocabularies) == {"tiny", "pets"}
    assert data.label_vocabulary == PETS
    batch = next(iter(data.train_dataloader()))[0]
    assert list(batch) == ["panoptic", "labels"]
    assert [len(b.images) for b in batch.values()] == [3, 2]
    assert [b.vocabulary for b in batch.values()] == ["tiny", "pets"]
    assert isinstance(batch["panoptic"].targets, SegmentTargets)
    assert isinstance(batch["labels"].targets, ImageLabels)
    assert [int(found) for found in batch["labels"].targets.labels] == [
        int(name[0]) % 3 for name in batch["labels"].image_ids
    ]


def test_without_a_size_of_their_own_there_are_as_many_labelled_images(ten, labels) -> None:
    assert make_data(ten, labels, label_batch_size=None).label_batch_size == 3


def test_the_panoptic_side_counts_the_epochs_and_the_labelled_one_goes_round_on_its_own(whole) -> None:
    assert len(whole) == EPOCHS * STEPS
    panoptic = [ids[:3] for ids, _ in whole]
    for epoch in range(EPOCHS):
        assert len({i for ids in panoptic[epoch * STEPS :][:STEPS] for i in ids}) == 3 * STEPS
    labelled = [ids[:2] for _, ids in whole]
    for start in (0, LABEL_EPOCH):  # each round shows an image at most once; the second begins within an epoch
        assert len({i for ids in labelled[start : start + LABEL_EPOCH] for i in ids}) == 2 * LABEL_EPOCH
    assert labelled[:LABEL_EPOCH] != labelled[LABEL_EPOCH : 2 * LABEL_EPOCH]
    sums: dict[str, set[float]] = {}
    for _, ids in whole:
        for name, total in zip(ids[:2], ids[2:], strict=True):
            sums.setdefault(name, set()).add(total)
    assert any(len(found) > 1 for found in sums.values())  # an image is augmented anew in each round


@pytest.mark.parametrize("stop_at", range(1, EPOCHS * STEPS))
def test_a_run_killed_at_any_step_sees_the_rest_of_both_streams(ten, labels, tmp_path, whole, stop_at) -> None:
    stopped, resumed = Recorder(stop_at), Recorder()
    save = ModelCheckpoint(dirpath=tmp_path, save_last=True, every_n_train_steps=1)
    with pytest.raises(InterruptedError):
        fit(stopped, make_data(ten, labels), tmp_path, save)
    fit(resumed, make_data(ten, labels), tmp_path, resume=tmp_path / "last.ckpt")
    assert stopped.seen + resumed.seen == whole


def test_workers_that_fetched_ahead_change_nothing(ten, labels, tmp_path, whole) -> None:
    stopped, resumed = Recorder(4), Recorder()
    save = ModelCheckpoint(dirpath=tmp_path, save_last=True, every_n_train_steps=1)
    with pytest.raises(InterruptedError):
        fit(stopped, make_data(ten, labels, num_workers=1), tmp_path, save)
    fit(resumed, make_data(ten, labels, num_workers=1), tmp_path, resume=tmp_path / "last.ckpt")
    assert stopped.seen + resumed.seen == whole


def test_shorter_epochs_leave_no_labelled_image_out(ten, labels, tmp_path, whole) -> None:
    model = Recorder()
    fit(model, make_data(ten, labels), tmp_path, limit_train_batches=2)
    assert [ids for _, ids in model.seen] == [ids for _, ids in whole[: 2 * EPOCHS]]


@pytest.mark.parametrize("stop_at", [4, *(pytest.param(step, marks=pytest.mark.slow) for step in (3, 5))])
def test_exact_epochs_read_every_labelled_image_once_also_when_stopped(ten, labels, tmp_path, stop_at) -> None:
    """The fifth batch has the last image of the first epoch and the first of the second."""
    whole, stopped, resumed = Recorder(), Recorder(stop_at), Recorder()
    fit(whole, make_data(ten, labels, exact_epochs=True), tmp_path)
    names = [name for _, ids in whole.seen for name in ids[:2]]
    assert sorted(names[:9]) == sorted(names[9:]) == [f"{k}.png" for k in range(9)]
    assert names[:9] != names[9:]
    save = ModelCheckpoint(dirpath=tmp_path, save_last=True, every_n_train_steps=1)
    with pytest.raises(InterruptedError):
        fit(stopped, make_data(ten, labels, exact_epochs=True), tmp_path, save)
    fit(resumed, make_data(ten, labels, exact_epochs=True), tmp_path, resume=tmp_path / "last.ckpt")
    assert stopped.seen + resumed.seen == whole.seen


def test_overfitting_repeats_the_first_batches_of_both(ten, labels, tmp_path) -> None:
    model = Recorder()
    fit(model, make_data(ten, labels), tmp_path, overfit_batches=2)
    assert [ids[:2] for _, ids in model.seen] == [("0.png", "1.png"), ("2.png", "3.png")] * EPOCHS
    assert [ids[:3] for ids, _ in model.seen] == [(7, 8, 9), (10, 11, 12)] * EPOCHS


def test_resuming_with_another_order_of_the_labels_is_refused(ten, labels, tmp_path) -> None:
    save = ModelCheckpoint(dirpath=tmp_path, save_last=True, every_n_train_steps=1)
    with pytest.raises(InterruptedError):
        fit(Recorder(2), make_data(ten, labels), tmp_path, save)
    with pytest.raises(DatasetError, match="batch_size was 2 and is 1"):
        fit(Recorder(), make_data(ten, labels, label_batch_size=1), tmp_path, resume=tmp_path / "last.ckpt")


def test_the_two_orders_have_nothing_to_do_with_one_another(ten, labels) -> None:
    data = make_data(ten, partial(labels, limit=9), batch_size=1, label_batch_size=1)
    data.builders["train"].keywords["limit"] = 9
    data.setup("fit")
    steps = [batch for batch, *_ in data.train_dataloader()]
    panoptic = [step["panoptic"].image_ids[0] - 7 for step in steps]
    labelled = [int(step["labels"].image_ids[0][0]) for step in steps]
    assert sorted(panoptic) == sorted(labelled) == list(range(9))
    assert panoptic != labelled


class _Ranks:
    """What two ranks read in three epochs; sent to processes of their own."""

    def __init__(self, options, labels) -> None:
        self.ten, self.labels = SimpleNamespace(options=options), labels

    def __call__(self, rank: int) -> list[list[str]]:
        data = make_data(self.ten, self.labels, batch_size=4, label_batch_size=4)
        data.setup("fit")
        found = []
        for epoch in range(EPOCHS):
            data._progress = partial(tuple, (epoch, 0))
            batches = [batch for batch, *_ in data.train_dataloader()]
            found += [[f"{key}{i}" for key, part in batch.items() for i in part.image_ids] for batch in batches]
        return found


def test_two_ranks_share_both_sets(ten, labels, tmp_path) -> None:
    first, second = on_two_ranks(_Ranks(ten.options, labels), tmp_path)
    assert len(first) == len(second) == EPOCHS * 2
    for key, count, batches in (("panoptic", 8, 2), ("labels", 8, 2)):
        for start in range(0, EPOCHS * 2, batches):  # an epoch of either has two batches on each rank
            shares = [
                {i for step in rank[start : start + batches] for i in step if i.startswith(key)}
                for rank in (first, second)
            ]
            assert not shares[0] & shares[1]
            assert len(shares[0] | shares[1]) == count
        rest = {i for rank in (first, second) for step in rank for i in step if i.startswith(key)}
        assert len(rest) > count  # what one epoch left out came in another


def test_sets_of_the_wrong_kind_and_numbers_out_of_range_are_named(ten, labels) -> None:
    with pytest.raises(DatasetError, match="label_batch_size must be at least 1, got 0"):
        make_data(ten, labels, label_batch_size=0)
    with pytest.raises(DatasetError, match=r"no set with image labels: give it in `data.module.labels`"):
        MixedDataModule(labels=None, batch_size=1)
    panoptic = partial(PanopticDataset, **ten.options)
    swapped = MixedDataModule(train=labels, labels=panoptic, batch_size=1, check_files=False)
    swapped.setup("fit")
    with pytest.raises(DatasetError, match=r"data.module.labels has images with segments: swap"):
        _ = swapped.label_vocabulary
    with pytest.raises(DatasetError, match="set 'train' has images with image labels: swap"):
        swapped.train_dataloader()
