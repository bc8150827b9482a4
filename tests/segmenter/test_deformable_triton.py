"""The fused kernel, run by Triton's interpreter on the CPU: it needs no GPU, and says nothing of speed.

The interpreter is chosen when Triton is imported, so the comparison runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from opsnet.segmenter import deformable_sampling as module

COMPARE = """
import json, sys, torch
from opsnet.segmenter.deformable_sampling import sampling_reference
from opsnet.segmenter.deformable_triton import sampling_triton

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


def test_the_kernel_gives_the_references_numbers_and_gradients() -> None:
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
def test_what_the_kernel_takes(shape: tuple[int, ...], dtype: torch.dtype, expected: bool) -> None:
    kernel = pytest.importorskip("opsnet.segmenter.deformable_triton")
    assert kernel.supported(torch.empty(shape, dtype=dtype)) is expected


def test_without_triton_one_line_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "opsnet.segmenter.deformable_triton", raising=False)
    import opsnet.segmenter

    monkeypatch.delattr(opsnet.segmenter, "deformable_triton", raising=False)
    module._triton.cache_clear()
    assert module._triton() is None and module._triton() is None
    assert [r.message for r in caplog.records if "grid_sample, which is slower" in r.message] != []
    assert len(caplog.records) == 1
    module._triton.cache_clear()
