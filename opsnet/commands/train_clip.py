"""``opsnet-train-clip``: trains the tiny CLIP of the synthetic world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsnet.commands.help import Help
from opsnet.commands.run_command import run_command

if TYPE_CHECKING:
    from omegaconf import DictConfig

HELP = Help(
    name="opsnet-train-clip",
    about="trains the tiny CLIP of the synthetic world, in a minute on two cores; nothing happens if it exists.",
    examples=(
        ("for all trainings of the miniature", "opsnet-train-clip"),
        ("again", "opsnet-train-clip force=true"),
        ("another seed, another file", "opsnet-train-clip seed=1 output=clip_1.pt"),
        ("data in another folder", "opsnet-train-clip paths.data=/big/data"),
        ("shorter, to try it", "opsnet-train-clip stage_steps=[60,35] output=small.pt"),
    ),
    keys={
        "output": "file to write; data/clip/tiny.pt by default, where trainings look for it",
        "force": "true: train again even if the file exists",
        "seed": "of the images, the weights and the order; 0 by default",
        "captions": "folder of the images with captions, which are drawn if they are missing",
        "stage_steps": "steps on images with a thing, then on all; [600,350] by default",
        "batch_size": "images per step; 128 by default",
        "lr": "learning rate; 0.003 by default",
        "paths.data": "folder of all data; data, or OPSNET_DATA, by default",
    },
    more="Read on: docs/miniature.md. Other CLIPs are downloaded by open_clip: opsnet-train clip=rn50.",
)


def run(cfg: DictConfig) -> None:
    """Hydra's task."""
    from opsnet.training.clip import train_clip

    train_clip(cfg)


def main() -> None:
    """Console entry point."""
    run_command("train_clip", run, help=HELP, interrupted="run the same command again to resume")


if __name__ == "__main__":
    main()
