"""``opsnet-export``: a trained network as one file, ONNX or PyTorch's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsnet.commands.help import Help
from opsnet.commands.run_command import run_command

if TYPE_CHECKING:
    from omegaconf import DictConfig

HELP = Help(
    name="opsnet-export",
    about="writes a trained network as one file that takes any class names as an input, and compares it with the "
    "network before it keeps it.",
    examples=(
        ("ONNX", "opsnet-export checkpoint=last.ckpt output=opsnet.onnx"),
        ("PyTorch's own format", "opsnet-export checkpoint=last.ckpt output=opsnet.pt2"),
        (
            "with names as a matrix beside it",
            'opsnet-export checkpoint=last.ckpt output=opsnet.onnx vocabulary="car, sky"',
        ),
        (
            "one size of images, which is faster",
            "opsnet-export checkpoint=last.ckpt output=opsnet.onnx height=640 width=640",
        ),
        ("another recognizer", "opsnet-export checkpoint=last.ckpt output=opsnet.onnx modulation=clip_only"),
    ),
    keys={
        "checkpoint": "a .ckpt of opsnet-train, a folder of save_pretrained, published weights, owner/name on the Hub",
        "output": "file to write; .onnx or .pt2 chooses the format",
        "format": "onnx or pt2, if output does not say",
        "vocabulary": "names whose text matrix is written beside the file",
        "height, width": "pixels of the padded images, multiples of 32; any size by default",
        "modulation": "the recognizer, which is fixed in the file: trained, full, clip_only, ...",
        "tolerance": "maximum difference of mask probabilities and scores from the network's; 1e-4 by default",
        "clip_model, train_vocabulary": "for published weights: their CLIP and names, if not the usual ones",
        "clip_weights": "path of CLIP's weights, if they have moved since training",
    },
    more="Read on: docs/export.md (how to run the file). ONNX needs pip install '.[export]' in the clone.",
    ask="an export needs a network",
)


def run(cfg: DictConfig) -> None:
    """Hydra's task."""
    from opsnet.exporting.run import export

    export(cfg)


def main() -> None:
    """Console entry point."""
    run_command("export", run, help=HELP)


if __name__ == "__main__":
    main()
