"""``opsnet-demo``: a web page that segments an image and labels it with the visitor's class names."""

from __future__ import annotations

from omegaconf import DictConfig

from opsnet.commands.run_command import run_command


def run(cfg: DictConfig) -> None:
    """Hydra's task; it serves until Ctrl-C."""
    from opsnet.web_demo.run import serve

    serve(cfg)


def main() -> None:
    """Console entry point."""
    run_command("demo", run, texts=("checkpoint",))


if __name__ == "__main__":
    main()
