"""The order of images, their augmentation and their shares a process: functions of seed, epoch and rank."""

from __future__ import annotations

import multiprocessing
from functools import partial
from itertools import islice

import pytest
import torch
from torch.utils.data import Dataset

from opsnet.data.loaders import (
    CyclingLoader,
    EvaluationLoader,
    ResumableLoader,
    SeededDataset,
)
from opsnet.data.samplers import EndlessSampler, ResumableSampler
from opsnet.utils.errors import DatasetError


def epoch_of(sampler: ResumableSampler, epoch: int) -> list[list[int]]:
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert {e for batch in batches for e, _ in batch} == {epoch}
    return [[index for _, index in batch] for batch in batches]


def test_order_is_a_function_of_seed_and_epoch():
    sampler = ResumableSampler(20, batch_size=4, seed=1)
    first = epoch_of(sampler, 0)
    assert sorted(index for batch in first for index in batch) == list(range(20))
    assert epoch_of(sampler, 1) != first
    torch.manual_seed(99)
    assert epoch_of(sampler, 0) == first
    assert epoch_of(ResumableSampler(20, batch_size=4, seed=2), 0) != first
    assert epoch_of(ResumableSampler(20, batch_size=4, seed=2), 0) != epoch_of(sampler, 1)  # not seed + epoch


def test_shards_are_disjoint_and_the_rest_is_left_out():
    shards = [epoch_of(ResumableSampler(23, batch_size=3, rank=r, world_size=3), 5) for r in range(3)]
    assert [len(s) for s in shards] == [2, 2, 2]
    assert all(len(batch) == 3 for shard in shards for batch in shard)
    images = [index for shard in shards for batch in shard for index in batch]
    assert len(set(images)) == len(images) == 18
    alone = epoch_of(ResumableSampler(23, batch_size=9), 5)  # the same images a step, whatever the processes
    assert [{*a, *b, *c} for a, b, c in zip(*shards, strict=True)] == [set(batch) for batch in alone]


def test_start_skips_batches():
    sampler = ResumableSampler(10, batch_size=3)
    everything = epoch_of(sampler, 1)
    sampler.set_epoch(1, start=2)
    assert [[index for _, index in batch] for batch in sampler] == everything[2:]
    assert len(sampler) == 3
    assert epoch_of(sampler, 1) == everything


def test_without_shuffling_the_order_is_that_of_the_set():
    assert epoch_of(ResumableSampler(7, batch_size=2, shuffle=False), 3) == [[0, 1], [2, 3], [4, 5]]


def test_the_last_step_of_an_epoch_is_a_whole_one():
    shares = [ResumableSampler(23, batch_size=2, rank=r, world_size=2, accumulate=2) for r in range(2)]
    assert [len(share) for share in shares] == [4, 4]  # two steps of eight, in two batches on each of two processes
    batches = [epoch_of(share, 5) for share in shares]
    alone = epoch_of(ResumableSampler(23, batch_size=8), 5)
    for step, whole in enumerate(alone):
        assert {i for own in batches for batch in own[2 * step : 2 * step + 2] for i in batch} == set(whole)


def test_fewer_images_than_one_step():
    with pytest.raises(DatasetError, match=r"7 images, fewer than the 8 of one step: lower"):
        ResumableSampler(7, batch_size=2, world_size=2, accumulate=2)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_endless_sampler_reads_every_image_once_per_epoch(accumulate) -> None:
    every = [list(range(23)) for _ in range(3)]
    seen = []
    for rank in range(2):
        sampler = EndlessSampler(23, batch_size=2, rank=rank, world_size=2, accumulate=accumulate)
        sampler.set_epoch(0, start=3)
        rest = list(islice(sampler, 14))
        sampler.set_epoch(0)
        seen.append(list(islice(sampler, 17)))
        assert seen[-1][3:] == rest
        sampler.set_epoch(1, start=2)  # an epoch of the loader is len(sampler) batches
        assert next(iter(sampler)) == seen[-1][len(sampler) + 2]
    images = [image for a, b in zip(*seen, strict=True) for pair in zip(a, b, strict=True) for image in pair]
    epochs = [[index for epoch, index in images if epoch == k] for k in range(3)]
    assert [sorted(found) for found in epochs[:2]] == every[:2]
    assert images == sorted(images, key=lambda image: image[0])
    assert epochs[0] != epochs[1]


class Broken(Dataset[float]):
    """Cannot read its second item."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> float:
        if index == 1:
            raise DatasetError("b.png cannot be read: replace the file")
        return 0.0


@pytest.mark.parametrize("num_workers", [0, 1])
def test_what_is_wrong_with_a_file_is_a_sentence_in_a_worker_too(num_workers):
    options = {"collate_fn": list, "num_workers": num_workers}
    sampler = ResumableSampler(2, batch_size=1, shuffle=False)
    loaders = [
        ResumableLoader(Broken(), sampler, progress=lambda: (0, 0), **options),
        EvaluationLoader(Broken(), batch_size=1, **options),
    ]
    for loader in loaders:
        with pytest.raises(DatasetError, match=r"^b.png cannot be read: replace the file$"):
            list(loader)
        assert multiprocessing.active_children() == []  # the traceback is still there


class Noise(Dataset[float]):
    def __getitem__(self, index: int) -> float:
        return torch.rand(()).item()


def test_augmentation_is_a_function_of_seed_epoch_and_index():
    items = SeededDataset(Noise(), seed=3)
    keys = [(epoch, index) for epoch in range(5) for index in range(5)]
    values = [items[key] for key in keys]
    assert len(set(values)) == 25
    assert [items[key] for key in reversed(keys)] == values[::-1]
    assert SeededDataset(Noise(), seed=4)[0, 0] not in values


def test_loading_leaves_the_models_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    loader = ResumableLoader(Noise(), ResumableSampler(4, batch_size=2), collate_fn=list, progress=lambda: (0, 0))
    assert len(list(loader)) == len(loader) == 2
    assert torch.equal(torch.rand(3), expected)


class Sized(Dataset[int]):
    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.parametrize("batch_size", [1, 2, 4])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_shows_every_image_once_in_as_many_batches_on_each_process(batch_size, world_size):
    for size in range(world_size, 20):
        make = partial(EvaluationLoader, Sized(size), batch_size=batch_size, collate_fn=list, world_size=world_size)
        ranks = [list(make(rank=rank)) for rank in range(world_size)]
        assert len({len(batches) for batches in ranks}) == 1
        assert len(make(rank=0)) == len(ranks[0])
        assert sorted(i for batches in ranks for batch in batches for i in batch) == list(range(size))
        sizes = [len(batch) for batches in ranks for batch in batches]
        assert min(sizes) >= 1
        assert max(sizes) <= max(2, batch_size) if world_size > 1 else max(sizes) <= batch_size


def test_evaluation_with_more_processes_than_images():
    with pytest.raises(
        DatasetError, match="a set of 2 images cannot be split over 3 processes: evaluate on fewer devices"
    ):
        EvaluationLoader(Sized(2), batch_size=1, collate_fn=list, world_size=3)


def test_a_cycling_stream_goes_on_into_its_next_round():
    def given(trained: int, left: int) -> list[list[int]]:
        sampler = ResumableSampler(7, batch_size=2, seed=1)
        loader = CyclingLoader(Sized(7), sampler, collate_fn=list, steps=5, progress=lambda: (trained, left))
        assert len(loader) == 5
        return list(loader)

    rounds = [epoch_of(ResumableSampler(7, batch_size=2, seed=1), epoch) for epoch in range(4)]  # of three batches
    stream = [batch for batches in rounds for batch in batches]
    assert given(0, 5) == stream[:5]
    assert given(5, 5) == stream[5:10]
    assert given(7, 3) == stream[7:10]  # resumed within the second five
    assert given(0, 0) == []


def test_states_of_older_checkpoints_call_images_pictures():
    loader = ResumableLoader(Sized(6), ResumableSampler(6, batch_size=2), collate_fn=list, progress=lambda: (0, 0))
    older = {"pictures" if key == "images" else key: value for key, value in loader.state_dict().items()}
    loader.load_state_dict(older)
    with pytest.raises(DatasetError, match="images was 7 and is 6"):
        loader.load_state_dict({**older, "pictures": 7})
