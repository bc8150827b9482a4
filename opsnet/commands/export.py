"""``opsnet-export``: a trained network as one file, ONNX or PyTorch's own."""

from __future__ import annotations

from omegaconf import DictConfig

from opsnet.commands.run_command import run_command


def run(cfg: DictConfig) -> None:
    """Hydra's task."""
    from opsnet.exporting.run import export

    export(cfg)


def main() -> None:
    """Console entry point."""
    run_command("export", run, texts=("checkpoint", "output", "vocabulary"))


if __name__ == "__main__":
    main()
