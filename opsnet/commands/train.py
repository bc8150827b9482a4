"""``opsnet-train``: trains OPSNet as configured, or resumes an interrupted run; with ``-m``, sweeps."""

from __future__ import annotations

import os
from typing import Any

from omegaconf import DictConfig

from opsnet.commands.run_command import run_command


def main() -> None:
    """Console entry point; exit code 1 if a job of a sweep failed."""
    from opsnet.sweep.sweep import Sweep

    sweep = Sweep()

    def run(cfg: DictConfig) -> Any:
        return _run(cfg, sweep)

    hint = "resume=auto continues from the last checkpoint"
    run_command("train", run, extend=_rank_arguments, finish=sweep.run, interrupted=hint)


def _run(cfg: DictConfig, sweep: Any) -> Any:
    """Hydra's task; a job of a sweep is collected first, and runs when all jobs are known."""
    from opsnet.sweep.sweep import check_single, is_sweep

    if is_sweep():
        return sweep.add(cfg)
    check_single(cfg)
    from opsnet.training.run import train

    return train(cfg)


def _rank_arguments(arguments: list[str]) -> list[str]:
    """Additional arguments of a process started by SLURM or torchrun."""
    from opsnet.sweep.cluster import rank_arguments, require_submitit

    require_submitit(arguments)
    return rank_arguments(arguments, os.environ)


if __name__ == "__main__":
    main()
