"""``opsnet-train-clip``: trains the tiny CLIP of the synthetic world."""

from __future__ import annotations

from omegaconf import DictConfig

from opsnet.commands.run_command import run_command


def run(cfg: DictConfig) -> None:
    """Hydra's task."""
    from opsnet.training.clip import train_clip

    train_clip(cfg)


def main() -> None:
    """Console entry point."""
    run_command("train_clip", run, interrupted="run the same command again to resume")


if __name__ == "__main__":
    main()
