"""The stages and shares of the sets, and that a resumed run sees exactly the images of a whole one."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from opsnet.data import datamodule
from opsnet.data.datamodule import PanopticDataModule
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.data.transforms import TrainTransform
from opsnet.utils.errors import DatasetError
from opsnet.vocabulary import Vocabulary

EPOCHS, BATCHES = 2, 3  # of ten images in batches of three


@pytest.fixture(autouse=True)
def quiet():
    """Lightning's advice on workers and loggers is not what is tested here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_nothing_is_read_before_setup_and_only_the_stages_sets_then(tiny):
    missing = partial(PanopticDataset, images="no", annotations="no.json", vocabulary="coco")
    present = partial(PanopticDataset, **tiny.options)
    data = PanopticDataModule(train=missing, val=present, test={"here": present, "there": missing}, batch_size=1)
    assert data.test_names == ("here", "there")
    data.setup("predict")
    assert data.datasets == {}
    data.setup("validate")
    assert list(data.datasets) == ["val"]
    assert list(data.vocabularies) == ["tiny"]
    for stage, end in (("fit", "$"), ("test", r"; or leave this set out with '~data.module.test.there'"), (None, "$")):
        with pytest.raises(DatasetError, match=rf"no.json does not exist: check `annotations`{end}"):
            data.setup(stage)


def test_setup_builds_once(tiny):
    data = PanopticDataModule(val=PanopticDataset(**tiny.options), batch_size=1)
    data.setup("validate")
    first = data.datasets["val"]
    data.setup("fit")
    assert data.datasets["val"] is first


def test_truth_comes_with_evaluation_only(tiny):
    present = PanopticDataset(**tiny.options)
    data = PanopticDataModule(train=present, val=present, test={"a": present}, batch_size=2, eval_batch_size=3)
    data.setup()
    train, val, (test,) = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()
    assert next(iter(train)).panoptic == []
    for loader in (val, test):
        (batch,) = loader
        assert batch.image_ids == [7, 8, 9]
        assert [len(truth.segments) for truth in batch.panoptic] == [4, 2, 0]
        assert batch.vocabulary == "tiny"


def test_files_are_checked_when_asked_and_by_default_in_small_sets(tiny, monkeypatch):
    tiny.edit(lambda d: d["annotations"][1]["segments_info"].pop())
    make = partial(PanopticDataModule, val=partial(PanopticDataset, **tiny.options), batch_size=1)
    with pytest.raises(DatasetError, match="segment id 2"):
        make().setup("validate")
    make(check_files=False).setup("validate")
    monkeypatch.setattr(datamodule, "CHECKED_BELOW", 3)
    make().setup("validate")
    with pytest.raises(DatasetError, match="segment id 2"):
        make(check_files=True).setup("validate")


@pytest.mark.parametrize("key", ["LOCAL_RANK", "SLURM_LOCALID"])
def test_the_first_process_of_a_machine_checks_the_files_for_the_others(key, tiny, monkeypatch):
    tiny.edit(lambda d: d["annotations"][1]["segments_info"].pop())
    make = partial(PanopticDataModule, val=partial(PanopticDataset, **tiny.options), batch_size=1)
    monkeypatch.setenv(key, "0")
    with pytest.raises(DatasetError, match="segment id 2"):
        make().setup("validate")
    monkeypatch.setenv(key, "1")
    listed = []
    monkeypatch.setattr("opsnet.data.panoptic_dataset.require_files", lambda *given: listed.append(given))
    make().setup("validate")
    assert listed == []


@pytest.mark.parametrize(
    "key", ["batch_size", "device_batch_size", "eval_batch_size", "num_workers", "seed", "size_divisor"]
)
def test_numbers_out_of_range(key):
    with pytest.raises(DatasetError, match=f"{key} must be at least [01], got -1: change `{key}`"):
        PanopticDataModule(**{"batch_size": 1, key: -1})


def test_sets_that_were_not_given():
    data = PanopticDataModule(batch_size=1)
    data.setup()
    assert data.val_dataloader() == []
    assert data.test_dataloader() == []
    with pytest.raises(DatasetError, match="there is no set 'train': configure `data.train` and call setup first"):
        data.train_dataloader()


def test_two_vocabularies_of_one_name(tiny):
    other = Vocabulary("tiny", tuple(reversed(tiny.options["vocabulary"].concepts)))
    sets = {"a": PanopticDataset(**tiny.options), "b": PanopticDataset(**{**tiny.options, "vocabulary": other})}
    with pytest.raises(DatasetError, match="set 'test/b' has a different vocabulary named 'tiny'"):
        PanopticDataModule(test=sets, batch_size=1).setup()


def test_every_process_takes_and_checks_its_own_share(ten, monkeypatch):
    shares = []
    monkeypatch.setattr(PanopticDataset, "check_pixels", lambda self, shard: shares.append(shard))
    monkeypatch.setattr(datamodule.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(datamodule.distributed, "get_world_size", lambda: 2)
    trained, scored = [], []
    for rank in range(2):
        monkeypatch.setattr(datamodule.distributed, "get_rank", lambda rank=rank: rank)
        data = make_data(ten, val=partial(PanopticDataset, **ten.options), batch_size=4)
        data.setup("fit")
        trained += [i for batch in data.train_dataloader() for i in batch.image_ids]
        scored += [i for batch in data.val_dataloader() for i in batch.image_ids]
    assert shares == [(0, 2), (0, 2), (1, 2), (1, 2)]
    assert len(set(trained)) == len(trained) == 8
    assert sorted(scored) == list(range(7, 17))


# --- under Lightning ------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


class Recorder(LightningModule):
    """Notes what it is trained on: image ids, and sums of pixels weighted by place, which tell augmentations apart."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.stop_at, self.seen, self.scored = stop_at, [], []

    def training_step(self, batch, batch_idx):
        if self.stop_at is not None and self.global_step == self.stop_at:
            raise Interrupted
        places = torch.arange(batch.images[0].numel()).view_as(batch.images[0])
        sums = (batch.images * places).flatten(1).sum(1)
        self.seen.append((self.current_epoch, batch_idx, tuple(batch.image_ids), tuple(sums.tolist())))
        return self.weight * 1.0

    def validation_step(self, batch, batch_idx):
        self.scored += batch.image_ids

    def test_step(self, batch, batch_idx, dataloader_idx=0):
        self.scored.append((dataloader_idx, batch.image_ids))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveOnException(Callback):
    """Saves where the batch that failed is fetched but not trained."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_exception(self, trainer, pl_module, exception):
        trainer.save_checkpoint(self.path)


def make_trainer(root: Path, **options) -> Trainer:
    defaults = {"max_epochs": EPOCHS, "num_sanity_val_steps": 0}
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(default_root_dir=root, **quiet, **{**defaults, **options})


def make_data(ten, num_workers: int = 0, **options) -> PanopticDataModule:
    transform = TrainTransform(size=8, scale=(1.0, 1.5))
    train = partial(PanopticDataset, **ten.options, transform=transform)
    return PanopticDataModule(train=train, **{"batch_size": 3, "size_divisor": 8, **options}, num_workers=num_workers)


@pytest.fixture
def whole(ten, tmp_path) -> list:
    """What an uninterrupted run sees."""
    model = Recorder()
    make_trainer(tmp_path, enable_checkpointing=False).fit(model, datamodule=make_data(ten))
    assert [(epoch, batch) for epoch, batch, *_ in model.seen] == [
        (e, b) for e in range(EPOCHS) for b in range(BATCHES)
    ]
    assert len({sums for *_, sums in model.seen}) == EPOCHS * BATCHES
    return model.seen


def interrupt_and_resume(
    ten, root: Path, stop_at: int, num_workers: int = 0, limits=None, data=None, **checkpointing
) -> list:
    """What a run sees that raises at a step and is then resumed from its last checkpoint."""
    limits, data = limits or {}, data or {}
    save = ModelCheckpoint(dirpath=root, save_last=True, **(checkpointing or {"every_n_train_steps": 1}))
    stopped = Recorder(stop_at)
    with pytest.raises(Interrupted):
        make_trainer(root, callbacks=[save], **limits).fit(stopped, datamodule=make_data(ten, num_workers, **data))
    resumed = Recorder()
    trainer = make_trainer(root, enable_checkpointing=False, **limits)
    trainer.fit(resumed, datamodule=make_data(ten, num_workers, **data), ckpt_path=root / "last.ckpt")
    return stopped.seen + resumed.seen


@pytest.mark.parametrize("stop_at", range(1, EPOCHS * BATCHES))
def test_a_run_resumed_at_any_step_sees_what_an_uninterrupted_one_sees(ten, tmp_path, whole, stop_at):
    assert interrupt_and_resume(ten, tmp_path, stop_at) == whole


@pytest.mark.parametrize("stop_at", [1, 4])
def test_batches_that_a_worker_fetched_ahead_are_not_lost(ten, tmp_path, whole, stop_at):
    assert interrupt_and_resume(ten, tmp_path, stop_at, num_workers=1) == whole


@pytest.mark.parametrize("stop_at", [2, 3, 4])
def test_resuming_under_max_steps(ten, tmp_path, whole, stop_at):
    limits = {"max_epochs": -1, "max_steps": 5}
    assert interrupt_and_resume(ten, tmp_path, stop_at, limits=limits) == whole[:5]


BOUNDS = [{"max_epochs": EPOCHS}, {"max_epochs": -1, "max_steps": EPOCHS * BATCHES}]


@pytest.mark.parametrize("limits", BOUNDS)
def test_resuming_from_the_end_of_an_epoch(ten, tmp_path, whole, limits):
    seen = interrupt_and_resume(ten, tmp_path, 4, limits=limits, every_n_epochs=1, save_on_train_epoch_end=True)
    assert seen == whole[:4] + whole[3:]  # the fourth batch is trained twice: the checkpoint lies before it


@pytest.mark.parametrize("limits", BOUNDS)
@pytest.mark.parametrize(("interval", "stop_at", "saved_at"), [(1.0, 4, 3), (2, 5, 5), (2, 3, 2)])
def test_resuming_from_a_validation(ten, tmp_path, whole, limits, interval, stop_at, saved_at):
    limits = {**limits, "val_check_interval": interval}
    val = partial(PanopticDataset, **ten.options, limit=2)
    checkpointing = {"every_n_epochs": 1, "save_on_train_epoch_end": False}
    seen = interrupt_and_resume(ten, tmp_path, stop_at, limits=limits, data={"val": val}, **checkpointing)
    assert seen == whole[:stop_at] + whole[saved_at:]


@pytest.mark.parametrize("stop_at", [0, 2, 3, 4])
def test_the_batch_that_failed_is_trained_after_resuming(ten, tmp_path, whole, stop_at):
    stopped, resumed = Recorder(stop_at), Recorder()
    trainer = make_trainer(tmp_path, enable_checkpointing=False, callbacks=[SaveOnException(tmp_path / "x.ckpt")])
    with pytest.raises(Interrupted):
        trainer.fit(stopped, datamodule=make_data(ten))
    trainer = make_trainer(tmp_path, enable_checkpointing=False)
    trainer.fit(resumed, datamodule=make_data(ten), ckpt_path=tmp_path / "x.ckpt")
    assert stopped.seen + resumed.seen == whole


def test_worker_processes_change_nothing(ten, tmp_path, whole):
    model = Recorder()
    make_trainer(tmp_path, enable_checkpointing=False).fit(model, datamodule=make_data(ten, num_workers=2))
    assert model.seen == whole


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 2}, "batch_size was 3 and is 2"),
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"accumulate": 3}, "accumulate_grad_batches was 1 and is 3"),
    ],
)
def test_resuming_within_an_epoch_of_another_order_is_refused(ten, tmp_path, changed, message):
    save = ModelCheckpoint(dirpath=tmp_path, save_last=True, every_n_train_steps=1)
    with pytest.raises(Interrupted):
        make_trainer(tmp_path, callbacks=[save]).fit(Recorder(stop_at=2), datamodule=make_data(ten))
    accumulate = changed.pop("accumulate", 1)
    trainer = make_trainer(tmp_path, enable_checkpointing=False, accumulate_grad_batches=accumulate)
    with pytest.raises(DatasetError, match=message):
        trainer.fit(Recorder(), datamodule=make_data(ten, **changed), ckpt_path=tmp_path / "last.ckpt")


def test_between_two_epochs_the_batch_size_may_change(ten, tmp_path):
    save = ModelCheckpoint(dirpath=tmp_path, save_last=True, every_n_epochs=1, save_on_train_epoch_end=True)
    with pytest.raises(Interrupted):
        make_trainer(tmp_path, callbacks=[save]).fit(Recorder(stop_at=4), datamodule=make_data(ten))
    model, trainer = Recorder(), make_trainer(tmp_path, enable_checkpointing=False)
    trainer.fit(model, datamodule=make_data(ten, batch_size=2), ckpt_path=tmp_path / "last.ckpt")
    assert [(epoch, batch) for epoch, batch, *_ in model.seen] == [(1, b) for b in range(5)]
    assert len({i for _, _, ids, _ in model.seen for i in ids}) == 10


def test_a_step_has_the_same_images_in_one_batch_and_in_accumulated_ones(ten, tmp_path, whole):
    model = Recorder()
    trainer = make_trainer(tmp_path, enable_checkpointing=False, accumulate_grad_batches=3)
    trainer.fit(model, datamodule=make_data(ten))
    steps = [[ids for _, _, ids, _ in model.seen[start : start + 3]] for start in range(0, len(model.seen), 3)]
    assert [[i for ids in step for i in ids] for step in steps] == [list(ids) for _, _, ids, _ in whole]
    assert trainer.global_step == len(whole)


def test_a_total_that_the_batches_cannot_share_is_named(ten, tmp_path):
    with pytest.raises(
        DatasetError, match=r"batch_size=3 .* 1 device with .*accumulate_grad_batches=2: .* multiple of 2"
    ):
        make_trainer(tmp_path, accumulate_grad_batches=2).fit(Recorder(), datamodule=make_data(ten))


def test_overfitting_repeats_the_first_batches_in_order(ten, tmp_path):
    model = Recorder()
    make_trainer(tmp_path, enable_checkpointing=False, overfit_batches=2).fit(model, datamodule=make_data(ten))
    assert [ids for _, _, ids, _ in model.seen] == [(7, 8, 9), (10, 11, 12)] * EPOCHS


def test_validation_and_test_domains_reach_the_module_in_order(ten, tiny, tmp_path):
    data = make_data(
        ten,
        val=partial(PanopticDataset, **tiny.options),
        test={
            "first": partial(PanopticDataset, **tiny.options),
            "second": partial(PanopticDataset, **ten.options, limit=1),
        },
        eval_batch_size=2,
    )
    model, trainer = Recorder(), make_trainer(tmp_path, enable_checkpointing=False, max_epochs=1)
    trainer.fit(model, datamodule=data)
    assert model.scored == [7, 8, 9]
    model.scored = []
    trainer.test(model, datamodule=data, verbose=False)
    assert model.scored == [(0, [7, 8]), (0, [9]), (1, [7])]
