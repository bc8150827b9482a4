"""``opsnet-doctor``: inspects a vocabulary or a dataset, or rehearses a training.

A command line that describes a training (``experiment=``, ``world=``, ``trainer=``, ...) is a rehearsal, see
:mod:`opsnet.diagnosis.command`; all others are inspections, configured by conf/doctor.yaml.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from opsnet.commands.arguments import asks_for_help, read_arguments
from opsnet.commands.help import Help
from opsnet.commands.quiet import quiet_libraries
from opsnet.commands.run_command import run_command, user_errors
from opsnet.utils.errors import exit_on_user_error

if TYPE_CHECKING:
    from omegaconf import DictConfig

HELP = Help(
    name="opsnet-doctor",
    about="inspects a vocabulary or a dataset before you use it, or rehearses two steps of a training.",
    examples=(
        ("a vocabulary against the training's", "opsnet-doctor vocabulary=words.txt train=coco"),
        ("names as they are", 'opsnet-doctor vocabulary="red car, sky" train=ade20k clip=tiny'),
        ("every file of a dataset", "opsnet-doctor data=coco"),
        ("its first 100 annotations", "opsnet-doctor data=coco limit=100"),
        ("a training, before it starts", "opsnet-doctor experiment=opsnet_r50 trainer=ddp trainer.devices=8"),
    ),
    keys={
        "vocabulary": "names with commas between them, a .txt or .json file, or a packaged name (coco, ade20k, ...)",
        "train": "the training vocabulary: a packaged name, a file or a list; coco by default",
        "clip": "the CLIP whose text embeddings are compared: rn50 (default), tiny, convnext_large_d_320, ...",
        "alpha, beta": "coefficients of Embedding Modulation; 10 and 0.5 by default",
        "alike": "minimum cosine at which two concepts are reported as look-alikes; 0.98 by default",
        "data, data.root": "the dataset to inspect: coco, ade20k, own, ...; the folder where it is",
        "limit": "only the first annotations of each set",
        "samples": "images on the sample sheet of each set; 6 by default",
        "examples": "printed findings per kind; 5 by default (all are in the csv)",
        "output": "folder to write; runs/doctor/<date_time> by default",
        "any key of opsnet-train": "such as experiment, world, model, trainer.devices: rehearses that training",
    },
    more="Read on: docs/vocabularies.md, docs/datasets.md, docs/training.md (the rehearsal).",
    ask="nothing to examine: give data=coco (or another option of conf/data), vocabulary=my.txt, or both",
)


def run(cfg: DictConfig) -> None:
    """Hydra's task; exit code 1 if the data has errors."""
    from opsnet.diagnosis.examine import examine

    if examine(cfg):
        raise SystemExit(1)


def main() -> None:
    """Console entry point; exit code 1 if the data has errors or the training would fail."""
    if asks_for_help(sys.argv[1:]) or not _rehearse_if_asked():
        run_command("doctor", run, help=HELP)


def _rehearse_if_asked() -> bool:
    """Rehearses the training that the command line describes; returns whether it describes one."""
    from opsnet.commands.keys import check_new_keys
    from opsnet.diagnosis.command import compose_training, is_rehearsal

    with exit_on_user_error():
        arguments = read_arguments(sys.argv[1:])
        if not is_rehearsal(arguments):
            return False
        with user_errors("train", arguments):
            check_new_keys("train", arguments)
            training = compose_training(arguments)  # a mistyped key is reported before PyTorch is imported
        sys.argv[1:] = arguments  # DDP starts the other processes with it
        with quiet_libraries():
            from opsnet.diagnosis.run import rehearse

            if rehearse(*training):
                sys.exit(1)
    return True


if __name__ == "__main__":
    main()
