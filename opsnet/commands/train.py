"""``opsnet-train``: trains OPSNet as configured, or resumes an interrupted run; with ``-m``, sweeps."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from opsnet.commands.help import Help
from opsnet.commands.run_command import run_command

if TYPE_CHECKING:
    from omegaconf import DictConfig

HELP = Help(
    name="opsnet-train",
    about="trains OPSNet on the data, with the networks and with the recipe of an experiment, and writes checkpoints, "
    "metrics and the configuration to runs/<experiment>/<date_time>.",
    examples=(
        ("the miniature, on a laptop", "opsnet-train experiment=scenes seed=1"),
        ("street photographs, on a laptop", "opsnet-train experiment=camvid backbone.weights=lite2.safetensors"),
        ("your masks, from published weights", "opsnet-train experiment=finetune init_from=fcclip.pth data=own"),
        ("the paper's, on COCO, eight GPUs", "opsnet-train experiment=opsnet_r50 trainer=ddp trainer.devices=8"),
        ("resume an interrupted run", "opsnet-train experiment=scenes seed=1 resume=auto"),
        ("a sweep, one job per seed", "opsnet-train -m experiment=scenes seed=0,1,2"),
    ),
    keys={
        "experiment": "scenes, camvid, finetune, opsnet_r50, opsnet_swin_l, opsnet_plus_r50, fcclip_r50, ... (the "
        "files of conf/experiment)",
        "seed": "of weights, order and augmentation; 0 by default",
        "init_from": "weights to start from, with a fresh optimizer: a checkpoint, or published weights",
        "resume": "auto: the newest unfinished run of this experiment and seed; or a checkpoint",
        "data, data.root": "the training set: scenes, coco, own, ...; the folder where it is",
        "backbone, clip, model": "the networks: backbone=swin_s clip=rn50x4 model=mask2former",
        "modulation, filtering": "recognizer and filter at validation, stored in the checkpoint",
        "optim.optimizer.lr": "learning rate",
        "optim.max_epochs": "length of the training; or optim.max_steps",
        "data.module.batch_size": "images per step over all GPUs; data.module.device_batch_size is per GPU",
        "trainer.devices": "GPUs, with trainer=ddp; trainer.precision, trainer.accelerator and others are Lightning's",
        "logger": "csv, wandb",
        "probes.domains": "unseen domains to score during training, as [scenes_novel]",
        "output": "folder to write, instead of runs/<experiment>/<date_time>",
        "-m, skip_done": "-m: a sweep over values with commas; skip_done=true resumes it",
    },
    more="Read on: docs/training.md, docs/finetuning.md, docs/photographs.md, docs/cluster.md. Before days of GPU "
    "time: opsnet-doctor with the same arguments rehearses two steps.",
    ask="no experiment is chosen: give experiment=NAME",
)


def main() -> None:
    """Console entry point; exit code 1 if a job of a sweep failed."""
    sweeps: list[Any] = []

    def run(cfg: DictConfig) -> Any:
        return _run(cfg, sweeps)

    def finish() -> int:
        return int(sweeps[0].run()) if sweeps else 0

    hint = "resume=auto continues from the last checkpoint"
    run_command("train", run, help=HELP, extend=_rank_arguments, finish=finish, interrupted=hint)


def _run(cfg: DictConfig, sweeps: list[Any]) -> Any:
    """Hydra's task; a job of a sweep is collected first, and runs when all jobs are known."""
    from opsnet.sweep.sweep import Sweep, check_single, is_sweep

    if is_sweep():
        if not sweeps:
            sweeps.append(Sweep())
        return sweeps[0].add(cfg)
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
