"""``opsnet-evaluate``: scores a checkpoint, or stored proposals, with any number of inference settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from opsnet.commands.help import Help
from opsnet.commands.run_command import run_command

if TYPE_CHECKING:
    from omegaconf import DictConfig

HELP = Help(
    name="opsnet-evaluate",
    about="scores a checkpoint on one or more datasets: panoptic quality and mIoU of any number of inference settings "
    "with one forward pass per image.",
    examples=(
        ("the miniature's test sets", "opsnet-evaluate checkpoint=last.ckpt settings=[full/cls_iou,clip_only/cls_iou]"),
        ("another dataset", "opsnet-evaluate checkpoint=last.ckpt data=ade20k settings=[full/cls_iou]"),
        ("every recognizer, one table", "opsnet-evaluate checkpoint=last.ckpt compare=recognizers"),
        ("a table of the paper", "opsnet-evaluate checkpoint=last.ckpt table=6"),
        ("store the network's outputs", "opsnet-evaluate checkpoint=last.ckpt save_proposals=true"),
        ("eight GPUs", "opsnet-evaluate checkpoint=last.ckpt trainer=ddp trainer.devices=8"),
        ("score what is stored", "opsnet-evaluate proposals=FOLDER settings=[alpha=8,beta=0.5/cls_iou]"),
    ),
    keys={
        "checkpoint": "a .ckpt of opsnet-train, a folder of save_pretrained, published weights, owner/name on the Hub",
        "proposals": "instead of a checkpoint: a folder written by save_proposals=true",
        "data": "what to test on: scenes (default), coco, ade20k, cityscapes, pascal_context, camvid, own, ...",
        "world": "scenes or real: the test sets of the miniature or of the paper together",
        "settings": "names <recognizer>/<filter>, as [full/cls_iou,trained/trained]; by default the paper's",
        "compare": "recognizers: every recognizer with the checkpoint's filter",
        "table, row": "rows of the paper's tables instead of settings: 6, [4,6], all",
        "tune.threshold": "every setting with each of these thresholds, as [0,0.05,0.1]; tune.overlap likewise",
        "overlap": "segments that keep less of their mask are dropped, 0..1; the checkpoint's by default",
        "panels": "images per dataset to draw beside their ground truth; 4 by default",
        "instances": "true: AP of things too",
        "semantic_from_proposals": "true: mIoU as Mask2Former and FC-CLIP compute it too",
        "oracles": "true: upper bounds with ground-truth masks, names and filter",
        "output": "folder to write; runs/evaluate/<date_time> by default",
        "device": "auto, cpu, cuda or cuda:1",
        "trainer": "ddp: several GPUs, each scores a share: trainer.devices=8, +trainer.num_nodes=4 machines",
        "score_workers": "processes that score beside the network; 0 by default",
        "clip_model, train_vocabulary": "for published weights: their CLIP and names, if not the usual ones",
        "clip_weights": "path of CLIP's weights, if they have moved since training",
    },
    more="The same command with hydra.run.dir= of a run that was stopped continues it. Read on: docs/evaluation.md, "
    "docs/tables.md, docs/datasets.md (how to get each dataset), docs/models.md (published weights).",
    ask="an evaluation needs checkpoint=PATH or proposals=FOLDER",
)


def run(cfg: DictConfig) -> None:
    """Hydra's task.

    Raises:
        InputError: a job of a sweep asks for several processes, each of which would start the sweep again.
    """
    from opsnet.evaluation.run import evaluate_and_print
    from opsnet.sweep.sweep import is_sweep
    from opsnet.utils.errors import InputError
    from opsnet.utils.ranks import is_distributed

    if is_sweep() and is_distributed(cfg.get("trainer")):
        raise InputError("trainer=ddp cannot be used with -m: run the evaluations one after another, or without it")
    evaluate_and_print(cfg)


def main() -> None:
    """Console entry point."""
    run_command("evaluate", run, help=HELP, extend=_rank_arguments)


def _rank_arguments(arguments: list[str]) -> list[str]:
    """Additional arguments of a process started by SLURM or torchrun."""
    from opsnet.sweep.cluster import rank_arguments

    return rank_arguments(arguments, os.environ, "evaluate")


if __name__ == "__main__":
    main()
