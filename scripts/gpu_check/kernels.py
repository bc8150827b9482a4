"""The operations of ``opsnet/ops`` against their plain forms: errors and times, forward and backward, fp32 and bf16."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from opsnet.ops.deformable_sampling import working_kernel
from scripts.benchmarks.pair import relative_error
from scripts.gpu_check.cases import CASES, Case, Way
from scripts.gpu_check.measure import PRECISIONS, Precision, Setup, autocast, exact_products, median_ms
from scripts.gpu_check.report import Table

BOUNDS = {"fp32": 1e-4, "bf16": 3e-2}
"""Largest error of a result relative to its norm; of indices and masks, the part that may differ. Where rounding gives
the plain form more, twice its error: gradients of sampling jump at the cells' borders, for example."""


def check_kernels(setup: Setup) -> list[Table]:
    """One row per operation, precision and pass."""
    columns = (
        "operation", "precision", "pass", "plain (ms)", "ours (ms)", "times as fast", "error of ours", "error of plain",
    )  # fmt: skip
    table = Table("Operations", columns)
    if setup.device == "cuda" and working_kernel("cuda") is None:
        table.failures.append("the Triton kernel of deformable sampling does not work here: see the warning above")
    torch.manual_seed(0)
    for make in CASES:
        for case in _made(make, setup, table):
            for precision in PRECISIONS if case.half is not None else PRECISIONS[:1]:
                for backward in (False, True) if case.backward else (False,):
                    names = (case.name, precision[0], "forward, backward" if backward else "forward")
                    table.measure(names, partial(_row, case, precision, backward, setup))
    table.notes.append(
        "Error: norm of the difference from the plain form in fp64 with the same inputs, over its norm, the largest "
        "among outputs and gradients; for indices and masks the part that differs. In bf16 both run under autocast."
    )
    return [table]


def _made(make: Callable[[Setup], Case], setup: Setup, table: Table) -> Iterator[Case]:
    """The case, or nothing and a failure."""
    try:
        case = make(setup)
    except Exception as error:
        table.failures.append(f"{make.__name__}: {type(error).__name__}: {error}")
    else:
        yield case


def _row(case: Case, precision: Precision, backward: bool, setup: Setup) -> list[str]:
    name, dtype = precision
    half = case.half if dtype == torch.bfloat16 and case.half is not None else ()
    inputs = tuple(t.to(dtype) if i in half else t for i, t in enumerate(case.inputs))

    def run(way: Way, given: tuple[Tensor, ...]) -> list[Tensor]:
        with autocast(setup.device, dtype):
            return _run(way, given, backward)

    with exact_products():
        exact = _run(case.plain, tuple(t.double() if t.is_floating_point() else t for t in inputs), backward)
        errors = [max(map(difference, run(way, inputs), exact)) for way in (case.ours, case.plain)]
    times = median_ms({"plain": lambda: run(case.plain, inputs), "ours": lambda: run(case.ours, inputs)}, setup)
    if not errors[0] <= max(BOUNDS[name], 2 * errors[1]):  # nan too
        raise ArithmeticError(f"the error is {errors[0]:.1e}, that of the plain form {errors[1]:.1e}")
    ratio = f"{times['plain'] / times['ours']:.2f}"
    return [f"{times['plain']:.3f}", f"{times['ours']:.3f}", ratio, *(f"{error:.1e}" for error in errors)]


def _run(way: Way, inputs: tuple[Tensor, ...], backward: bool) -> list[Tensor]:
    """The outputs, and with ``backward`` the gradients of the floating-point inputs."""
    if not backward:
        with torch.no_grad():
            return _tensors(way(*inputs))
    given = [t.detach().requires_grad_(t.is_floating_point()) for t in inputs]
    outputs = _tensors(way(*given))
    wanted = [t for t in given if t.requires_grad]
    # The gradient of the outputs is not constant: a constant one would hide swapped positions.
    weights = [torch.linspace(-1, 1, o.numel(), device=o.device).view(o.shape).to(o.dtype) for o in outputs]
    return [*outputs, *torch.autograd.grad(outputs, wanted, weights)]


def _tensors(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else list(result)


def difference(ours: Tensor, exact: Tensor) -> float:
    """Relative error; the part that differs if the values are integers or flags."""
    if ours.is_floating_point():
        return relative_error(ours.detach().double(), exact.detach().double())
    return float((ours != exact).float().mean())
