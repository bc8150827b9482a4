"""Images are read ahead, in order and within bounds; calls behind the network end, or report why not."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest
import torch

from opsnet.prediction import background
from opsnet.prediction.background import Background, read_ahead
from opsnet.prediction.images import NetworkSize, SourceImage, to_batch
from opsnet.utils.errors import InputError


def loaded(number: int, began: list[int]) -> SourceImage:
    began.append(number)
    if number == 2:
        raise InputError("no image")
    return SourceImage(f"{number}.png", np.zeros((10, 10, 3), np.uint8))


@pytest.mark.parametrize("threads", [0, 3])
def test_images_come_in_order_with_their_errors(threads) -> None:
    began: list[int] = []
    found = list(read_ahead(((i, partial(loaded, i, began)) for i in range(7)), threads, 3))
    assert [number for number, _ in found] == list(range(7))
    assert [image.number for _, image in found if isinstance(image, SourceImage)] == [0, 1, 3, 4, 5, 6]
    assert str(found[2][1]) == "no image"


def test_no_more_is_read_ahead_than_asked_for() -> None:
    began: list[int] = []
    images = read_ahead(((i, partial(loaded, i, began)) for i in range(100)), 2, 3)
    assert [next(images)[0] for _ in range(2)] == [0, 1]
    assert len(began) <= 2 + 3
    images.close()
    assert len(began) <= 2 + 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read")]


@pytest.mark.parametrize(("limit", "ahead"), [(1500, 4), (500, 1), (100, 0)])
def test_of_large_images_fewer_are_read_ahead(limit, ahead, monkeypatch) -> None:
    monkeypatch.setattr(background, "MOST_BYTES", limit)  # an image has 300 bytes
    began: list[int] = []
    images = read_ahead(((i, partial(loaded, i, began)) for i in range(3, 30)), 2, 4)
    next(images)
    assert began == [3]
    for taken in range(2, 12):
        next(images)
        assert len(began) <= taken + ahead


@pytest.mark.parametrize("threads", [0, 2])
def test_calls_are_done_at_the_end_and_errors_are_raised(threads) -> None:
    done: list[int] = []
    with Background(threads) as behind:
        for number in range(20):
            behind.call(done.append, number)
    assert sorted(done) == list(range(20))
    with pytest.raises(ZeroDivisionError), Background(threads) as behind:
        behind.call(lambda: 1 / 0)
    with pytest.raises(KeyError), Background(threads) as behind:  # the first error is the one to report
        behind.call(done.append, 20)
        raise KeyError
    assert done[-1] == 20


@pytest.mark.parametrize("size", [0, 200])
def test_calls_wait_for_room(size, monkeypatch) -> None:
    """Two for a thread, or as many as hold less than the limit of bytes."""
    monkeypatch.setattr(background, "MOST_BYTES", 300)
    gate = threading.Event()

    def work() -> None:
        assert gate.wait(30)

    with Background(1) as behind:
        for _ in range(1 if size else 2):
            behind.call(work, size=size)
        third = threading.Thread(target=behind.call, args=(work,), kwargs={"size": size})
        third.start()
        third.join(0.05)
        assert third.is_alive()
        gate.set()
        third.join(30)
        assert not third.is_alive()


def test_images_that_are_resized_ahead_make_the_same_batch() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 31, 3), dtype=np.uint8)
    size = NetworkSize(shortest=40, longest=None)
    ((_, image),) = read_ahead([(0, lambda: SourceImage("a.png", pixels))], 1, 1, size)
    assert isinstance(image, SourceImage) and image.resized is not None
    assert image.resized.shape == (3, 40, 62)
    ready, own = to_batch([pixels], size=size, ready=[image.resized]), to_batch([pixels], size=size)
    assert torch.equal(ready.images, own.images)
    assert ready.valid_sizes == own.valid_sizes == [(40, 62)]
