"""``opsnet-predict``: images and class names in, panoptic maps with names out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsnet.commands.help import Help
from opsnet.commands.run_command import run_command

if TYPE_CHECKING:
    from omegaconf import DictConfig

HELP = Help(
    name="opsnet-predict",
    about="segments images, labels every segment with one of your class names, and writes overlays, COCO panoptic "
    "files and a table of segments.",
    examples=(
        ("one image, your own names", 'opsnet-predict checkpoint=last.ckpt image=photo.jpg vocabulary="car, sky"'),
        ("a folder, a file of names", "opsnet-predict checkpoint=last.ckpt image=photos vocabulary=words.txt"),
        (
            "tar shards of images, on eight GPUs",
            "opsnet-predict checkpoint=last.ckpt image='shards/*.tar' vocabulary=coco trainer=ddp trainer.devices=8",
        ),
        (
            "names of a dataset, the best five",
            "opsnet-predict checkpoint=last.ckpt image=photo.jpg vocabulary=coco top_k=5",
        ),
        (
            "weaker segments too",
            "opsnet-predict checkpoint=last.ckpt image=photo.jpg vocabulary=coco filtering.threshold=0.02",
        ),
        ("published weights", "opsnet-predict checkpoint=fcclip.pth image=photo.jpg vocabulary=ade20k"),
        (
            "names for your own masks",
            "opsnet-predict checkpoint=last.ckpt image=photo.jpg masks=sam.json vocabulary=words.txt",
        ),
    ),
    keys={
        "checkpoint": "a .ckpt of opsnet-train, a folder of save_pretrained, published weights, owner/name on the Hub",
        "image": "an image, a folder, a pattern such as photos/*.jpg, a .txt of paths, a .tar or a pattern of tars, an "
        "address, or a video",
        "vocabulary": "names with commas between them, a .txt or .json file, a packaged name (coco, ade20k, "
        "cityscapes, ...), or a tree: a .yaml file, wordnet:animal.n.01",
        "output": "folder to write; runs/predict/<date_time> by default",
        "overwrite": "true: replace the results of an earlier prediction in `output`",
        "resume": "false: start again where a prediction in `output` was stopped; by default it is continued",
        "task": "panoptic, semantic (one segment per class) or instance (only things)",
        "top_k": "names listed per segment; 1 by default",
        "unknown": 'a margin such as 0.1: masks whose best name leads by less are labelled "unknown"',
        "filtering.threshold": "minimum score of a segment, 0..1; the checkpoint's by default",
        "overlap": "segments that keep less of their mask are dropped, 0..1; the checkpoint's by default",
        "modulation": "the recognizer: trained, full, clip_only, query_only, ..., or alpha=5,beta=0.25",
        "shortest, longest": "pixels of the edges to which images are resized; the checkpoint's by default",
        "batch_size": "images of equal size per batch; 8 by default",
        "num_workers": "threads that read images, and as many that write results, beside the network; 4 by default",
        "trainer": "ddp: several GPUs, each predicts a share: trainer.devices=8, trainer.accelerator=cpu",
        "ids_from": "a json with the dataset's images, such as its ground truth, whose ids predictions get",
        "masks": "your own masks, not the network's: a .json of SAM or COCO, a .png of ids, or a folder of these or of "
        "SAM's folders of binary PNGs",
        "front": "which of two overlapping masks of `masks` is in front: small (the default) or score",
        "device": "auto, cpu, cuda or cuda:1",
        "clip_model": "for published weights: their CLIP, if it is not the usual one; an option of conf/clip or a file",
        "train_vocabulary": "for published weights: the names that they were trained with; coco by default",
        "clip_weights": "path of CLIP's weights, if they have moved since training",
    },
    more="Read on: docs/cookbook.md, docs/vocabularies.md (all forms of names), docs/models.md (published weights), "
    "docs/masks.md (your own masks).",
    ask="a prediction needs a network, an image and class names",
)


def run(cfg: DictConfig) -> None:
    """Hydra's task; exit code 1 if images were skipped.

    Raises:
        InputError: a job of a sweep asks for several processes, each of which would start the sweep again.
    """
    from opsnet.prediction.run import predict
    from opsnet.sweep.sweep import is_sweep
    from opsnet.utils.errors import InputError
    from opsnet.utils.ranks import is_distributed

    if is_sweep() and is_distributed(cfg.get("trainer")):
        raise InputError("trainer=ddp cannot be used with -m: run the predictions one after another, or without it")
    if predict(cfg).failed:
        raise SystemExit(1)


def main() -> None:
    """Console entry point."""
    run_command("predict", run, help=HELP)


if __name__ == "__main__":
    main()
