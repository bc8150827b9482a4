"""A stored configuration cannot describe a larger network than its weights are."""

from __future__ import annotations

import copy
import resource
import threading
import time

import pytest
import torch
from torch import nn

from opsnet.checkpoint.stored_network import build_model
from opsnet.checkpoint.weight_budget import Budget, weights_within
from opsnet.utils.errors import CheckpointError


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("model", "pixel_decoder", "hidden"), 1_000_000),
        (("model", "query_decoder", "layers"), 1_000_000),
        (("model", "query_decoder", "queries"), 1_000_000),
        (("model", "pixel_decoder", "points"), 100_000),
        (("backbone", "model_args", "channels"), [48, 96, 128, 100_000]),
        (("backbone", "name"), "resnet152"),
        (("clip", "model", "architecture", "text_width"), 100_000),
    ],
    ids=str,
)
def test_a_network_larger_than_its_weights_is_refused_before_it_takes_memory(place, value, stored) -> None:
    config = copy.deepcopy(stored)
    if place[-1] == "name":
        config["backbone"] = {"_target_": config["backbone"]["_target_"], "name": value}
    else:
        node = config
        for part in place[:-1]:
            node = node[part]
        node[place[-1]] = value
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(CheckpointError, match="describes a larger network than its weights|no network can be built"):
        build_model(config, "mine", budget=Budget.of({"a": torch.zeros(500_000)}))
    assert time.perf_counter() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


def test_deterministic_algorithms_do_not_fill_a_weight_before_it_is_counted() -> None:
    """A training of the same process may have switched them on."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(CheckpointError), weights_within(Budget(values=10**6), "mine"):
            start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            nn.Embedding(1000, 1_000_000)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start < 500_000  # kB, of 4 GB
        assert torch.utils.deterministic.fill_uninitialized_memory
    finally:
        torch.use_deterministic_algorithms(before)


def test_the_weights_of_this_thread_are_counted_once_it_is_over_and_no_longer() -> None:
    budget = Budget(values=110, tensors=100)
    with weights_within(budget, "mine"):
        nn.Linear(10, 10)
        thread = threading.Thread(target=nn.Linear, args=(100, 100))
        thread.start()
        thread.join()
    with (
        pytest.raises(CheckpointError, match="mine: its configuration describes a larger network"),
        weights_within(budget, "mine"),
    ):
        nn.Linear(10, 11)
    with pytest.raises(CheckpointError, match="larger network"), weights_within(Budget(tensors=3), "mine"):
        nn.ModuleList(nn.Linear(1, 1) for _ in range(2))
    nn.Linear(100, 100)
