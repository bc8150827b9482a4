"""The processes of a command that runs on several devices: one per device, started through Lightning's Fabric.

``trainer=ddp trainer.devices=8`` starts the other seven with the same command line. SLURM and torchrun start the
processes themselves; there, Fabric finds the rank in the environment.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from opsnet.utils.errors import InputError
from opsnet.utils.stop_signals import Stopped, end_with_parent

T = TypeVar("T")
LONGEST_WAIT = timedelta(days=7)
"""Of a rank for the others: one may be done hours before them."""
SECONDS_TO_STOP = 60
SECONDS_OF_GRACE = 10


@dataclass(frozen=True)
class Ranks:
    """This process among those of a command.

    Attributes:
        rank: its number, from 0.
        count: number of processes.
        device: the device of this one, such as "cuda:1".
        group: PyTorch's process group; ``None`` for a single process.
        started: the other processes on this machine, if this one has started them.
    """

    rank: int = 0
    count: int = 1
    device: str = "auto"
    group: Any = None
    started: tuple[subprocess.Popen[Any], ...] = ()

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes what is common to all."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, in their order, on every rank; any objects that pickle can copy.

        Raises:
            InputError: another rank has ended.
        """
        if self.count == 1:
            return [value]
        from torch import distributed

        values: list[Any] = [None] * self.count
        try:
            distributed.all_gather_object(values, value, group=self.group)
        except RuntimeError as error:  # gloo's, of a connection that was closed
            raise lost_others(self.rank, self.count) from error
        return values

    def barrier(self) -> None:
        """Waits until all ranks are here."""
        self.gather(None)


def lost_others(rank: int, count: int) -> InputError:
    """The error of a rank whose connection to the others is closed."""
    return InputError(
        f"rank {rank} of {count} has lost the others: one of them ended, and its message says why; correct that, and "
        "run the same command again"
    )


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error is that of gloo or NCCL about a rank that has ended."""
    from torch.distributed import DistError

    said = str(error)
    return isinstance(error, DistError) or (isinstance(error, RuntimeError) and "gloo" in said and "Connection" in said)


def is_distributed(trainer: Mapping[str, Any] | None) -> bool:
    """Whether a trainer's configuration asks for several processes."""
    return bool(trainer) and trainer.get("strategy") is not None  # type: ignore[union-attr]


def other_rank() -> bool:
    """Whether this is not the first process of a command; also before :func:`start_ranks`."""
    from lightning.fabric.utilities.rank_zero import _get_rank

    return bool(_get_rank())


def require_devices(trainer: Mapping[str, Any] | None, device: str = "auto") -> None:
    """Checks that the devices of :func:`start_ranks` exist, before anything is prepared for them.

    Raises:
        InputError: see :func:`start_ranks`.
    """
    if trainer is not None and is_distributed(trainer):
        _fabric(trainer, device)


@contextmanager
def start_ranks(trainer: Mapping[str, Any] | None, device: str = "auto") -> Iterator[Ranks]:
    """Starts a command's other processes, and ends them with it.

    The others run the command line from its beginning: what they repeat before this call must be cheap, and errors in
    it are best raised before, where there is one process that reports them.

    Args:
        trainer: conf/trainer, of which ``strategy``, ``devices``, ``num_nodes`` and ``accelerator`` count; ``None``, or
            one without a strategy: a single process.
        device: of a single process; with several, "auto", "cpu" or "cuda" choose the kind.

    Raises:
        InputError: the strategy is not ddp, or there are no such devices.
    """
    if trainer is None or not is_distributed(trainer):
        yield Ranks(device=device)
        return
    from lightning.fabric.plugins.environments import LightningEnvironment

    fabric = _fabric(trainer, device)
    fabric.launch()
    started = list(getattr(fabric.strategy.launcher, "procs", ()))  # none under SLURM and torchrun
    # Not by creates_processes_externally, which LightningEnvironment says of itself in the processes that it created.
    environment = fabric.strategy.cluster_environment
    is_started = isinstance(environment, LightningEnvironment) and environment.local_rank() > 0
    if is_started:
        end_with_parent(signal.SIGTERM)
    try:
        group = _group(fabric.world_size)
        yield Ranks(fabric.global_rank, fabric.world_size, str(fabric.device), group, tuple(started))
    except BaseException as error:
        if is_started:
            _leave_to_main(error)
        _stop(started)
        raise


def _leave_to_main(error: BaseException) -> None:
    """Ends a process that rank 0 has started, if rank 0 has the same error or signal and reports it.

    The exit code is 0, because Lightning would kill rank 0 for another one.
    """
    try:
        if isinstance(error, InputError):
            time.sleep(SECONDS_OF_GRACE)  # until rank 0 ends this process
    except (KeyboardInterrupt, Stopped):
        sys.exit(0)
    if isinstance(error, (KeyboardInterrupt, Stopped)):
        sys.exit(0)


def _group(count: int) -> Any:
    from torch import distributed

    return distributed.new_group(backend="gloo", timeout=LONGEST_WAIT) if count > 1 else None


def _stop(processes: list[subprocess.Popen[Any]]) -> None:
    """Lets processes complete what they write, and waits for them."""
    for process in processes:
        process.terminate()
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_STOP)


def _fabric(trainer: Mapping[str, Any], device: str) -> Any:
    """Lightning's Fabric for the devices of a trainer.

    Raises:
        InputError: see :func:`start_ranks`.
    """
    from lightning.fabric import Fabric
    from lightning.fabric.strategies import DDPStrategy
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    if trainer["strategy"] != "ddp":
        raise InputError(f"trainer.strategy={trainer['strategy']} is for training only: give trainer=ddp")
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(
            f"device={device} is a single device, and trainer=ddp uses several: leave device out, and choose devices "
            "with trainer.devices, such as trainer.devices=[0,1]"
        )
    accelerator = trainer.get("accelerator", "auto") if device == "auto" else device
    devices, nodes = trainer.get("devices", 1), trainer.get("num_nodes", 1)
    try:
        return Fabric(
            accelerator=accelerator,
            devices=devices if isinstance(devices, (int, str)) else list(devices),
            num_nodes=nodes,
            strategy=DDPStrategy(process_group_backend="gloo"),
        )
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"trainer.devices={devices}, trainer.num_nodes={nodes} and trainer.accelerator={accelerator} do not fit "
            f"this machine ({' '.join(str(error).split())}): change them"
        ) from error
