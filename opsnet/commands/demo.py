"""``opsnet-demo``: a web page that segments an image and labels it with the visitor's class names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsnet.commands.help import Help
from opsnet.commands.run_command import run_command

if TYPE_CHECKING:
    from omegaconf import DictConfig

HELP = Help(
    name="opsnet-demo",
    about="serves a web page that segments an uploaded image and labels it with the names that you type.",
    examples=(
        ("the newest training under runs/", "opsnet-demo"),
        ("a checkpoint", "opsnet-demo checkpoint=last.ckpt"),
        ("published weights", "opsnet-demo checkpoint=fcclip.pth"),
        ("several models to choose from", "opsnet-demo 'models={miniature: auto, FC-CLIP: fcclip.pth}'"),
        ("reachable from other machines", "opsnet-demo checkpoint=last.ckpt host=0.0.0.0 auth=visitor"),
    ),
    keys={
        "checkpoint": "a .ckpt of opsnet-train, a folder of save_pretrained, published weights, owner/name on the Hub; "
        "the newest run by default",
        "models": "names and paths of several models; auto is the newest run; one at a time is in memory",
        "examples": "a folder of images, each with its class names in a .txt of the same name",
        "port": "7860 by default",
        "host": "127.0.0.1 by default; 0.0.0.0 makes the page reachable from other machines",
        "auth": "a user name; its password comes from OPSNET_DEMO_PASSWORD, or is asked for; none by default",
        "threshold": "minimum score of a segment, 0..1; the checkpoint's by default",
        "shortest, longest": "pixels of the edges to which images are resized; the checkpoint's by default",
        "stored_mb": "memory for the network's outputs of the last images of all visitors, in MB; 2048 by default",
        "device": "auto, cpu, cuda or cuda:1",
        "clip_model, train_vocabulary": "for published weights: their CLIP and names, if not the usual ones",
        "clip_weights": "path of CLIP's weights, if they have moved since training",
        "paths.runs": "folder in which the newest run is looked for; runs by default",
    },
    more="Read on: docs/demo.md. The page needs pip install '.[demo]' in the clone.",
)


def run(cfg: DictConfig) -> None:
    """Hydra's task; it serves until Ctrl-C."""
    from opsnet.web_demo.run import serve

    serve(cfg)


def main() -> None:
    """Console entry point."""
    run_command("demo", run, help=HELP)


if __name__ == "__main__":
    main()
