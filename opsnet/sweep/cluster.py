"""Runs the jobs of a sweep through submitit, and supports trainings started by SLURM or torchrun."""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from opsnet.sweep.launch import GRACE, Job, Outcome, Process, key_of, stoppable
from opsnet.utils.errors import InputError

OWN_KEYS = {"_target_", "submitit_folder", "max_num_timeout"}
SHARED_KEYS = {"timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name"}
SHARED_KEYS |= {"stderr_to_stdout"}
WORK = {"train": "training", "evaluate": "evaluation", "predict": "prediction"}


class JobFailed(RuntimeError):
    """A submitted job failed; the message is its cause."""


class JobStarter:
    """The callable that submitit runs on a node: starts the job, and resumes it after preemption."""

    def __init__(self) -> None:
        self._process: Process | None = None

    def __call__(self, job: Job) -> float:
        """Runs the job to completion and returns its duration in seconds.

        Raises:
            JobFailed: the job failed; the message is the cause.
        """
        extra, node = nodes_environment()
        self._process = Process(job, extra, node)
        try:
            while (outcome := self._process.poll()) is None:
                time.sleep(0.1)
        except BaseException:
            self._stop()
            raise
        if outcome.cause is not None:
            raise JobFailed(outcome.cause)
        return outcome.seconds

    def checkpoint(self, job: Job) -> Any:
        """Called by submitit on preemption and shortly before the time limit; returns what to requeue."""
        from submitit.helpers import DelayedSubmission

        self._stop()
        return DelayedSubmission(JobStarter(), job)

    def _stop(self) -> None:
        if self._process is not None:
            self._process.interrupt()
            self._process.end(time.monotonic() + GRACE)

    def __getstate__(self) -> dict[str, Any]:
        return {"_process": None}


def nodes_environment() -> tuple[dict[str, str], int]:
    """The environment of a job on several nodes, and the index of this node; called within submitit."""
    import submitit

    task = submitit.JobEnvironment()
    if task.num_nodes == 1:
        return {}, 0
    # Jobs that share their first node use different ports, derived from the job's id.
    port = 15000 + int(re.sub(r"\D", "", task.job_id)[-4:])
    given = {"MASTER_ADDR": task.hostnames[0], "MASTER_PORT": str(port), "NODE_RANK": str(task.node)}
    return given | {"WORLD_SIZE": str(task.num_nodes)}, task.node


def require_submitit(arguments: list[str]) -> None:
    """Checks that the launcher of a command line is available.

    Raises:
        InputError: its package is not installed.
    """
    asked = [argument for argument in arguments if argument.startswith("launcher=submitit")]
    if asked and importlib.util.find_spec("submitit") is None:
        raise InputError(f"{asked[0]} needs hydra-submitit-launcher: pip install '.[slurm]' in the clone")


def submit(jobs: list[Job], cluster: str, queue: Mapping[str, Any]) -> list[Any]:
    """Submits jobs as one array; returns submitit's handles.

    submitit is called in the same way, and with the same keys, as by hydra-submitit-launcher. The plugin itself would
    also submit finished jobs, stop reporting at the first failed job, and requeue before the training has written its
    checkpoint.

    Args:
        cluster: ``slurm`` or ``local``.
        queue: the keys of conf/launcher.

    Raises:
        InputError: jobs cannot be submitted from this machine, or a key has an unsupported value.
    """
    import submitit

    _check_queue(queue)
    own = {f"{cluster}_max_num_timeout": queue["max_num_timeout"]} if "max_num_timeout" in queue else {}
    given = {k if k in SHARED_KEYS else f"{cluster}_{k}": v for k, v in queue.items() if k not in OWN_KEYS}
    if cluster == "slurm":
        given["slurm_srun_args"] = ["--kill-on-bad-exit=1"]  # a failing node terminates the others
    try:
        executor = submitit.AutoExecutor(cluster=cluster, folder=queue["submitit_folder"], **own)
        executor.update_parameters(**given)
        return list(executor.map_array(JobStarter(), jobs))
    except (RuntimeError, submitit.core.utils.FailedJobError) as error:
        raise InputError(f"launcher=submitit_{cluster} cannot submit the jobs: {error}") from error


def _check_queue(queue: Mapping[str, Any]) -> None:
    gpus = queue["gpus_per_node"]
    if gpus is not None and gpus < 0:
        raise InputError(f"launcher.gpus_per_node={gpus}: set the number of GPUs per job, with trainer.devices=8")
    if queue["tasks_per_node"] != 1:
        raise InputError(
            f"launcher.tasks_per_node={queue['tasks_per_node']} must be 1: the task starts trainer.devices processes"
        )


def wait_for(handles: list[Any], jobs: list[Job], report: Callable[[Outcome], None], every: float = 1.0) -> None:
    """Reports each submitted job when it ends; if interrupted, cancels the remaining ones."""
    left = list(zip(handles, jobs, strict=True))
    with stoppable():
        try:
            while left:
                for pair in [pair for pair in left if pair[0].done()]:
                    left.remove(pair)
                    report(_outcome(*pair))
                time.sleep(every)
        finally:
            for handle, _ in left:
                handle.cancel(check=False)


def _outcome(handle: Any, job: Job) -> Outcome:
    error = handle.exception()
    if error is None:
        return Outcome(job, float(handle.results()[0]))
    causes = re.findall(r"^\S*JobFailed: (.*)", str(error), re.MULTILINE)
    if causes:
        return Outcome(job, 0.0, causes[-1])
    return Outcome(job, 0.0, f"its process on the node ended ({type(error).__name__})", str(error)[-1500:])


def rank_arguments(arguments: list[str], given: Mapping[str, str], command: str = "train") -> list[str]:
    """Additional arguments for a process started by SLURM or torchrun: one folder for all ranks, written by one.

    The default folder is named by the current time, which differs between ranks. ``command`` names the logs of the
    others.

    Raises:
        InputError: the ranks have no common folder, or each of them would start the whole sweep.
    """
    rank, run = _rank(given)
    if rank is None:
        return []
    if {"-m", "--multirun", "hydra.mode=MULTIRUN"} & set(arguments):
        raise InputError("a sweep (-m) starts the processes of its jobs: start it once, without torchrun or srun")
    keys = {key_of(argument) for argument in arguments}
    more = []
    if "hydra.run.dir" not in keys:
        if not run:
            raise InputError(
                f"several processes of one {WORK[command]} need hydra.run.dir=FOLDER, the same for all of them"
            )
        more.append(f"hydra.run.dir=${{paths.runs}}/${{experiment_name}}/{run}")
    if rank != "0" and "hydra.job.name" not in keys:
        more += ["hydra.output_subdir=null", f"hydra.job.name={command}_rank_{rank}"]
    return more


def _rank(given: Mapping[str, str]) -> tuple[str | None, str]:
    """(rank, name of the run) of one of several processes; (None, "") of a single process."""
    interactive = given.get("SLURM_JOB_NAME") in ("bash", "interactive")
    if "SLURM_STEP_ID" in given and int(given.get("SLURM_NTASKS", 1)) > 1 and not interactive:
        return given["SLURM_PROCID"], f"slurm_{given['SLURM_JOB_ID']}"
    if int(given.get("WORLD_SIZE") or 1) == 1:
        return None, ""
    if "RANK" in given:
        name = given.get("TORCHELASTIC_RUN_ID", "none")
        return given["RANK"], "" if name == "none" else f"torchrun_{name}"
    if "NODE_RANK" in given:
        ranks = {given["NODE_RANK"], given.get("LOCAL_RANK", "0")}
        return ("0" if ranks == {"0"} else "_".join((given["NODE_RANK"], given.get("LOCAL_RANK", "0")))), ""
    return None, ""
