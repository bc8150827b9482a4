"""The processes of a command on several devices: what is refused, and what they exchange, stop and report."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from opsnet.utils.errors import InputError
from opsnet.utils.ranks import Ranks, is_lost_connection, require_devices, start_ranks

DDP = {"strategy": "ddp", "devices": 2, "accelerator": "cpu"}


def test_a_single_process_gathers_its_own_value() -> None:
    for trainer in (None, {"devices": 2}):
        with start_ranks(trainer, "cpu") as ranks:
            assert ranks == Ranks(0, 1, "cpu")
            assert (ranks.is_main, ranks.gather("a")) == (True, ["a"])


@pytest.mark.parametrize(
    ("trainer", "device", "message"),
    [
        ({"strategy": "fsdp"}, "auto", r"trainer\.strategy=fsdp is for training only: give trainer=ddp"),
        (DDP, "cuda:1", r"device=cuda:1 is a single device, .*trainer\.devices=\[0,1\]"),
        ({**DDP, "devices": 0}, "auto", r"trainer\.devices=0, .* do not fit this machine \(.*\): change them"),
        ({**DDP, "devices": -1}, "cpu", r"trainer\.devices=-1, .*accelerator=cpu do not fit this machine"),
    ],
)
def test_devices_that_cannot_be_used(trainer, device, message) -> None:
    with pytest.raises(InputError, match=message), start_ranks(trainer, device):
        pass
    with pytest.raises(InputError, match=message):
        require_devices(trainer, device)


SCRIPT = """
import sys, time
from opsnet.utils.errors import exit_on_user_error
from opsnet.utils.ranks import start_ranks
with exit_on_user_error():
    with start_ranks({"strategy": "ddp", "devices": 2, "accelerator": "cpu"}) as ranks:
        print(ranks.gather(f"{ranks.rank} of {ranks.count} on {ranks.device}"), flush=True)
        if sys.argv[1] == "leave" and ranks.rank == 1:
            sys.exit(0)
        if sys.argv[1] == "wait":
            time.sleep(300)
        ranks.barrier()
"""


def start(folder: Path, what: str) -> subprocess.Popen[str]:
    (folder / "work.py").write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, "work.py", what], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}, start_new_session=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "code", "said"), [("meet", 0, ""), ("leave", 2, "error: rank 0 of 2 has lost the others")]
)
def test_two_ranks(what, code, said, tmp_path) -> None:
    process = start(tmp_path, what)
    out, error = process.communicate(timeout=300)
    assert (process.returncode, out.count("['0 of 2 on cpu', '1 of 2 on cpu']")) == (code, 2), error
    assert said in error


@pytest.mark.slow
def test_a_signal_to_rank_0_ends_both(tmp_path) -> None:
    process = start(tmp_path, "wait")
    assert process.stdout is not None
    assert process.stdout.readline() and process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=120)  # until both have closed their output
    assert process.returncode == 143
    assert error.count("stopped by SIGTERM") == 1
    time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:45455"), True),
        (torch.distributed.DistBackendError("NCCL error: remote process exited or there was a network error"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (OSError("Connection refused"), False),
    ],
)
def test_a_lost_connection_is_told_from_other_errors(error, is_lost) -> None:
    assert is_lost_connection(error) == is_lost
