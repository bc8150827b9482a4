"""A limit on the memory and time of building a network from sizes that nobody has looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.utils import deterministic

from opsnet.utils.errors import CheckpointError


@dataclass(frozen=True)
class Budget:
    """How many weights a network may have.

    Attributes:
        values: numbers in all weights together.
        tensors: number of weights.
    """

    values: int = 2**29
    tensors: int = 20_000

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> Budget:
        """For a network whose weights are given: several times as many, for those that are replaced while it is built.

        A network that is larger than that would be refused anyway, once it is built.
        """
        return cls(4 * sum(tensor.numel() for tensor in weights.values()) + 2**23, 4 * len(weights) + 2000)


@contextmanager
def weights_within(budget: Budget, name: str) -> Iterator[None]:
    """A context in which this thread builds modules with no more weights than a budget.

    PyTorch's modules register a weight before they write into it, so that no memory is used by one that is too large.
    Deterministic algorithms would fill it when it is made.

    Args:
        budget: the limit.
        name: name of the checkpoint or folder, for the message.

    Raises:
        CheckpointError: there are more weights.
    """
    thread, values, tensors = get_ident(), 0, 0

    def count(owner: nn.Module, key: str, tensor: Any) -> None:
        nonlocal values, tensors
        if not isinstance(tensor, Tensor) or get_ident() != thread:
            return
        values, tensors = values + tensor.numel(), tensors + 1
        if values > budget.values or tensors > budget.tensors:
            raise CheckpointError(
                f"{name}: its configuration describes a larger network than its weights belong to: it is damaged, or "
                "its configuration was changed"
            )

    with ExitStack() as stack:
        for register in (
            hooks.register_module_parameter_registration_hook,
            hooks.register_module_buffer_registration_hook,
        ):
            handle = register(count)
            stack.callback(handle.remove)
        filled: Any = deterministic  # its attributes are those of a class that replaces the module's
        stack.callback(setattr, filled, "fill_uninitialized_memory", filled.fill_uninitialized_memory)
        filled.fill_uninitialized_memory = False
        yield
