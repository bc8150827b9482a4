"""Submits a stopped SLURM job again."""

from __future__ import annotations

import logging
import os
import signal
import subprocess

from opsnet.utils.stop_signals import Stopped

log = logging.getLogger(__name__)

WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)
"""Signals that a job chooses with ``--signal`` to be warned of its time limit."""


def requeue(stop: Stopped, *, resumes: bool) -> None:
    """Requeues the SLURM job of this process under its id, if it was stopped by a warning; else does nothing.

    Args:
        stop: how the training was stopped; its checkpoint is written.
        resumes: whether the same command line continues the training (``resume=auto``).
    """
    from lightning.pytorch.plugins.environments import SLURMEnvironment

    job = os.environ.get("SLURM_JOB_ID")
    if stop.number not in WARNINGS or job is None or not SLURMEnvironment.detect():
        return
    if not resumes:
        log.warning("SLURM job %s is not requeued, because it would start from scratch: add resume=auto", job)
        return
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip()
        log.warning("SLURM job %s could not be requeued (scontrol: %s): submit it again", job, reason)
    else:
        log.warning("requeued SLURM job %s", job)
