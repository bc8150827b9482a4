"""The jobs of a sweep through submitit, and trainings whose processes SLURM or torchrun starts."""

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


class JobFailed(RuntimeError):
    """A submitted job failed; the message is its cause."""


class JobStarter:
    """What submitit calls on a node: starts the job, and after preemption starts it again from its checkpoint."""

    def __init__(self) -> None:
        self._process: Process | None = None

    def __call__(self, job: Job) -> float:
        """Runs the job to its end; returns its seconds.

        Raises:
            JobFailed: with the job's cause.
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
        """Called by submitit on preemption and shortly before the time is up; the answer is what is queued again."""
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
    """What a job of several nodes needs to know of the others, and which node this is; called within submitit."""
    import submitit

    task = submitit.JobEnvironment()
    if task.num_nodes == 1:
        return {}, 0
    # Jobs that share a first node differ in their port by the job's id.
    port = 15000 + int(re.sub(r"\D", "", task.job_id)[-4:])
    given = {"MASTER_ADDR": task.hostnames[0], "MASTER_PORT": str(port), "NODE_RANK": str(task.node)}
    return given | {"WORLD_SIZE": str(task.num_nodes)}, task.node


def require_submitit(arguments: list[str]) -> None:
    """Checks that the launcher of a command line is there.

    Raises:
        InputError: the package for it is not installed.
    """
    asked = [argument for argument in arguments if argument.startswith("launcher=submitit")]
    if asked and importlib.util.find_spec("submitit") is None:
        raise InputError(f"{asked[0]} needs hydra-submitit-launcher: pip install 'opsnet[slurm]'")


def submit(jobs: list[Job], cluster: str, queue: Mapping[str, Any]) -> list[Any]:
    """Sends jobs off as one array; returns submitit's handles.

    submitit is called as hydra-submitit-launcher does and takes its keys. The plugin itself would send finished jobs
    too, stop reporting at the first job that fails, and requeue without letting the training write its checkpoint.

    Args:
        cluster: ``slurm`` or ``local``.
        queue: the keys of conf/launcher.

    Raises:
        InputError: the jobs cannot be sent from here, or a key asks for something impossible.
    """
    import submitit

    _check_queue(queue)
    own = {f"{cluster}_max_num_timeout": queue["max_num_timeout"]} if "max_num_timeout" in queue else {}
    given = {k if k in SHARED_KEYS else f"{cluster}_{k}": v for k, v in queue.items() if k not in OWN_KEYS}
    if cluster == "slurm":
        given["slurm_srun_args"] = ["--kill-on-bad-exit=1"]  # a node that fails ends the others
    try:
        executor = submitit.AutoExecutor(cluster=cluster, folder=queue["submitit_folder"], **own)
        executor.update_parameters(**given)
        return list(executor.map_array(JobStarter(), jobs))
    except (RuntimeError, submitit.core.utils.FailedJobError) as error:
        raise InputError(f"launcher=submitit_{cluster} cannot send the jobs: {error}") from error


def _check_queue(queue: Mapping[str, Any]) -> None:
    gpus = queue["gpus_per_node"]
    if gpus is not None and gpus < 0:
        raise InputError(f"launcher.gpus_per_node={gpus}: say how many GPUs a job gets, with trainer.devices=8")
    if queue["tasks_per_node"] != 1:
        raise InputError(
            f"launcher.tasks_per_node={queue['tasks_per_node']} must be 1: the task starts trainer.devices processes"
        )


def wait_for(handles: list[Any], jobs: list[Job], report: Callable[[Outcome], None], every: float = 1.0) -> None:
    """Reports each submitted job's end; cancels those that are left when it is interrupted."""
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


def rank_arguments(arguments: list[str], given: Mapping[str, str]) -> list[str]:
    """What the command line of a process that SLURM or torchrun started lacks: one folder for all, written by one.

    Each rank reads the clock for itself, and the default folder is named after it.

    Raises:
        InputError: the ranks cannot agree on a folder, or would each start the whole sweep.
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
            raise InputError("several processes of one training need hydra.run.dir=FOLDER, the same for all of them")
        more.append(f"hydra.run.dir=${{paths.runs}}/${{experiment_name}}/{run}")
    if rank != "0" and "hydra.job.name" not in keys:
        more += ["hydra.output_subdir=null", f"hydra.job.name=train_rank_{rank}"]
    return more


def _rank(given: Mapping[str, str]) -> tuple[str | None, str]:
    """(rank, name of the run) of a process of several; (None, "") of one on its own."""
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
