"""Images per second, with a clock that the test moves."""

from __future__ import annotations

import pytest
import torch

from opsnet.metrics import speed
from opsnet.metrics.merging import add_state, state_of
from opsnet.metrics.speed import WARM_UP, Speed, Watch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time in nanoseconds."""
    now = [0]
    monkeypatch.setattr(speed.time, "perf_counter_ns", lambda: now[0])
    return now


def run(clock: list[int], batches: int, stored: tuple[int, ...] = ()) -> Speed:
    """Batches of 2 images: 1 s of reading, 2 s of the network, 5 s of scoring; the first takes a minute more."""
    found, watch = Speed(), Watch(torch.device("cpu"))
    for index in range(batches):
        clock[0] += 10**9
        if index not in stored:
            with watch.network():
                clock[0] += 2 * 10**9 + (60 * 10**9 if index == 0 else 0)
        if (times := watch.ready()) is not None:
            found.add(times, 2)
        clock[0] += 5 * 10**9
    return found


def test_the_first_batches_do_not_count(clock: list[int]) -> None:
    assert run(clock, WARM_UP).as_dict() == {}
    assert run(clock, WARM_UP + 4).as_dict() == {"network": 1.0, "whole": 0.25, "images": 8}


def test_stored_batches_do_not_count(clock: list[int]) -> None:
    found = run(clock, WARM_UP + 5, stored=(1, WARM_UP + 2))
    assert found.as_dict() == {"network": 1.0, "whole": 0.25, "images": 6}


def test_devices_add_up_to_the_speed_of_one(clock: list[int]) -> None:
    found, merged = run(clock, WARM_UP + 2), Speed()
    for _ in range(3):
        add_state({"": merged}, state_of({"": found}))
    assert merged.as_dict() == {"network": 1.0, "whole": 0.25, "images": 12}


def test_the_network_is_waited_for_on_a_gpu(clock: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that are still running when Python is done belong to the network's time."""
    running = [0]

    def wait(device: torch.device) -> None:
        clock[0] += running[0]
        running[0] = 0

    monkeypatch.setattr(torch.cuda, "synchronize", wait)
    watch = Watch(torch.device("cuda"))
    for _ in range(WARM_UP + 1):
        running[0] = 9 * 10**9  # of the step before
        with watch.network():
            running[0] = 2 * 10**9
        times = watch.ready()
    assert times is not None and times.network == 2 * 10**9
