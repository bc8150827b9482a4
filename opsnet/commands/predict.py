"""``opsnet-predict``: images and class names in, panoptic maps with names out."""

from __future__ import annotations

from omegaconf import DictConfig

from opsnet.commands.run_command import run_command


def run(cfg: DictConfig) -> None:
    """Hydra's task; exit code 1 if images were skipped."""
    from opsnet.prediction.run import predict

    if predict(cfg).failed:
        raise SystemExit(1)


def main() -> None:
    """Console entry point."""
    run_command("predict", run, texts=("image", "checkpoint", "model.weights", "vocabulary", "ids_from", "masks"))


if __name__ == "__main__":
    main()
