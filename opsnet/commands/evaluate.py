"""``opsnet-evaluate``: scores a checkpoint, or stored proposals, with any number of inference settings."""

from __future__ import annotations

from omegaconf import DictConfig

from opsnet.commands.run_command import run_command


def run(cfg: DictConfig) -> None:
    """Hydra's task."""
    from opsnet.evaluation.run import evaluate_and_print

    evaluate_and_print(cfg)


def main() -> None:
    """Console entry point."""
    run_command("evaluate", run)


if __name__ == "__main__":
    main()
