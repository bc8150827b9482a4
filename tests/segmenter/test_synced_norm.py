"""Synced BatchNorms: two processes with half of the images each against one BatchNorm with all of them."""

from __future__ import annotations

from pathlib import Path

import torch
from ranks import on_two_ranks
from torch import Tensor, nn

from opsnet.segmenter.synced_norm import SyncedNorm, sync_norms


def norm_and_images() -> tuple[nn.BatchNorm2d, Tensor, Tensor]:
    """Images whose mean is far from 0, and weights of their outputs, which are larger on the first process."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(5)
    for numbers in (norm.weight, norm.bias):
        nn.init.uniform_(numbers, 0.5, 2.0)
    return norm, 30 + torch.arange(1, 6)[:, None, None] * torch.randn(6, 5, 4, 3), torch.randn(6, 5, 4, 3)


def step(norm: nn.BatchNorm2d, images: Tensor, weights: Tensor) -> dict[str, Tensor]:
    x = images.clone().requires_grad_()
    answer = norm(x)
    (answer * weights).sum().backward()
    state = {name: value.detach() for name, value in norm.state_dict().items() if name.startswith(("running", "num"))}
    return {"answer": answer.detach(), "x": x.grad, "weight": norm.weight.grad, "bias": norm.bias.grad, **state}


def step_on_rank(rank: int) -> dict[str, Tensor]:
    norm, images, weights = norm_and_images()
    own = slice(0, 4) if rank == 0 else slice(4, 6)
    return step(sync_norms(nn.Sequential(norm))[0], images[own], weights[own])


def test_two_processes_normalise_and_learn_as_one(tmp_path: Path) -> None:
    first, second = on_two_ranks(step_on_rank, tmp_path)
    expected = step(*norm_and_images())
    for name in ("answer", "x"):
        torch.testing.assert_close(torch.cat((first[name], second[name])), expected[name], rtol=1e-4, atol=1e-4)
    for name in ("weight", "bias"):  # DDP adds them up
        torch.testing.assert_close(first[name] + second[name], expected[name], rtol=1e-4, atol=1e-4)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(first[name], expected[name])
        torch.testing.assert_close(second[name], expected[name])


def test_one_process_computes_what_batch_norm_does() -> None:
    norm, images, weights = norm_and_images()
    synced = sync_norms(nn.Sequential(norm_and_images()[0]))[0]
    assert type(synced) is SyncedNorm
    expected, found = step(norm, images, weights), step(synced, images, weights)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert torch.equal(synced.eval()(images), norm.eval()(images))
