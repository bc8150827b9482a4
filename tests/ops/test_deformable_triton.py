"""The fused kernel, run by Triton's interpreter on the CPU: needs no GPU and does not test the speed.

The interpreter is selected when Triton is imported, so the comparison runs in a separate process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from opsnet.ops import deformable_sampling as module


@pytest.fixture(autouse=True)
def anew():
    """Clears the cached kernel before and after each test."""
    module.working_kernel.cache_clear()
    yield
    module.working_kernel.cache_clear()


COMPARE = """
import json, sys, torch
from opsnet.ops.deformable_sampling import sampling_reference
from opsnet.ops.deformable_triton import sampling_triton

def inputs(shapes, dtype):
    torch.manual_seed(0)
    value = torch.randn(2, sum(h * w for h, w in shapes), 2, 4).to(dtype).requires_grad_()
    locations = ((torch.rand(2, 19, 2, len(shapes), 3, 2) - 0.5) * 1.8 + 0.5)
    locations[0, 0, 0, 0] += 1e7
    weights = torch.rand(2, 19, 2, len(shapes), 3)
    return value, locations.requires_grad_(), weights.requires_grad_()

def error(a, b):
    return float((a.float() - b.float()).norm() / b.float().norm())

found = []
for shapes in ([(7, 5), (3, 4), (1, 2)], [(6, 1)]):
    for dtype in (torch.float32, torch.bfloat16):
        answers = []
        for way, kind in ((sampling_reference, torch.float32), (sampling_triton, dtype)):
            value, locations, weights = inputs(shapes, dtype)
            given = value.to(kind)
            mixed = way(given, shapes, locations, weights)
            torch.manual_seed(1)
            (mixed.float() * torch.randn(mixed.shape)).sum().backward()
            answers.append((mixed, value.grad, locations.grad, weights.grad))
        assert answers[1][0].dtype == dtype
        found.append([str(dtype), max(error(a, b) for a, b in zip(answers[1], answers[0]))])
print(json.dumps(found))
"""


def test_the_kernel_has_the_values_and_gradients_of_the_reference() -> None:
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", COMPARE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for dtype, error in json.loads(done.stdout.splitlines()[-1]):
        assert error < {"torch.float32": 1e-5, "torch.bfloat16": 1e-2}[dtype], dtype


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [((1, 4, 2, 32), torch.float32, True), ((1, 4, 2, 32), torch.bfloat16, True), ((1, 4, 2, 24), torch.float32, False),
     ((1, 4, 2, 32), torch.float64, False)],
)  # fmt: skip
def test_supported_inputs(shape: tuple[int, ...], dtype: torch.dtype, expected: bool) -> None:
    kernel = pytest.importorskip("opsnet.ops.deformable_triton")
    assert kernel.supported(torch.empty(shape, dtype=dtype)) is expected


def test_without_triton_there_is_a_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "opsnet.ops.deformable_triton", raising=False)
    import opsnet.ops

    monkeypatch.delattr(opsnet.ops, "deformable_triton", raising=False)
    assert module.working_kernel("cpu") is None and module.working_kernel("cpu") is None
    assert [r.message for r in caplog.records if "grid_sample, which is slower" in r.message] != []
    assert len(caplog.records) == 1


def fake_kernel(monkeypatch: pytest.MonkeyPatch, way: Callable[..., Tensor]) -> None:
    """A module that replaces the kernel; ``deformable_sampling`` treats the CPU as a GPU."""
    import opsnet.ops

    kernel = SimpleNamespace(sampling_triton=way, supported=lambda value: True)
    monkeypatch.setitem(sys.modules, "opsnet.ops.deformable_triton", kernel)
    monkeypatch.setattr(opsnet.ops, "deformable_triton", kernel, raising=False)


class OnCuda(Tensor):
    """A tensor that claims to be on a GPU."""

    device = property(lambda self: torch.device("cuda:0"))  # type: ignore[assignment]


def inputs() -> tuple[Tensor, list[tuple[int, int]], Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(1, 4, 2, 4), [(2, 2)], torch.rand(1, 3, 2, 1, 2, 2), torch.rand(1, 3, 2, 1, 2)


@pytest.mark.parametrize("at", ["forward", "backward"])
def test_a_kernel_that_does_not_compile_gives_one_warning_and_the_reference(
    at: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def broken(value: Tensor, shapes: object, locations: Tensor, weights: Tensor) -> Tensor:
        calls.append(value.dtype)
        if at == "forward":
            raise RuntimeError("Failed to find C compiler.\nPlease specify via CC environment variable.")
        mixed = value.sum() * torch.ones(1)
        mixed.register_hook(lambda gradient: 1 / 0)
        return mixed

    fake_kernel(monkeypatch, broken)
    assert module.working_kernel("cpu") is None
    (record,) = caplog.records
    assert "uses grid_sample" in record.message and "\n" not in record.message
    assert ("C compiler" if at == "forward" else "ZeroDivisionError") in record.message
    for_cpu = module.working_kernel
    monkeypatch.setattr(module, "working_kernel", lambda device: for_cpu("cpu"))
    value, *others = inputs()
    found = module.deformable_sampling(value.as_subclass(OnCuda), *others)
    torch.testing.assert_close(found.as_subclass(Tensor), module.sampling_reference(value, *others))
    assert len(calls) == 1
    assert len(caplog.records) == 1


def test_a_working_kernel_is_tested_forward_and_backward_in_both_precisions_and_cached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    def way(value: Tensor, shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
        value.register_hook(lambda gradient: tried.append(value.dtype))
        return module.sampling_reference(value, shapes, locations.to(value.dtype), weights.to(value.dtype))

    fake_kernel(monkeypatch, way)
    assert module.working_kernel("cpu").sampling_triton is way
    assert tried == [torch.float32, torch.bfloat16]


def test_the_kernel_is_tested_when_a_training_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    from opsnet.training import module as training

    asked: list[str] = []
    monkeypatch.setattr(training, "working_kernel", asked.append)
    for device in ("cpu", "cuda:1"):
        training.OPSNetModule.on_fit_start(SimpleNamespace(device=torch.device(device)))  # type: ignore[arg-type]
    assert asked == ["cuda:1"]
