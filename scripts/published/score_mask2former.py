"""Evaluates a published Mask2Former with its own class head on COCO panoptic (Table 1, row 1; Table 9).

Usage: python -m scripts.published.score_mask2former backbone=r50 model.weights=PATH [KEY=VALUE ...]

PATH is as for opsnet-predict: a folder or .safetensors of transformers, or a .pkl or .pth of detectron2, trained on
COCO panoptic. Its 133 classes are assumed to be those of the vocabulary coco, ordered by id. results.json in the run's
folder then has PQ under coco/mask2former, where scripts/paper/table.py finds it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.progress import track
from torch import Tensor, nn

from opsnet.inference.trained_model import load_zero_shot
from opsnet.metrics.panoptic_quality import PanopticQuality
from opsnet.metrics.results import versions
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.panoptic.merge import merge_panoptic, upsample_masks
from opsnet.paper.old_names import refuse_old_names
from opsnet.structures import Batch, PanopticMap
from opsnet.utils.configuration import config_dir
from opsnet.utils.errors import InputError, exit_on_user_error
from opsnet.utils.files import write_json

# CLIP is not used: the smallest one, with random weights, replaces it.
WITHOUT_CLIP = ["clip=tiny", "clip.model.weights=random", "model.query_decoder.clip_attention=null"]
THRESHOLD, OVERLAP = 0.8, 0.8  # Mask2Former's own


class ClosedMask2Former:
    """A published Mask2Former that classifies its masks with its own class head.

    Args:
        cfg: with ``model.weights``, ``backbone`` and ``clip``.
        device: "auto" uses CUDA if available.
    """

    def __init__(self, cfg: DictConfig, *, device: str = "auto") -> None:
        trained = load_zero_shot(cfg, device=device)
        self.model, self.vocabulary = trained.model, trained.train_vocabulary
        head = self.model.query_decoder.class_head
        assert isinstance(head, nn.Linear)
        if head.out_features != len(self.vocabulary.is_thing) + 1:
            raise InputError(
                f"model.weights={cfg.model.weights} have {head.out_features - 1} classes, but COCO panoptic has "
                f"{len(self.vocabulary.is_thing)}: give the weights of a network trained on COCO panoptic"
            )
        self._logits: Tensor | None = None
        head.register_forward_hook(self._keep)
        self._filtering = MaskFiltering(kind="cls", threshold=THRESHOLD)

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._logits = output

    @torch.no_grad()
    def __call__(self, batch: Batch) -> list[PanopticMap]:
        """The map of each image, as in Mask2Former's inference, with the size (H, W) of its ground truth, if any."""
        proposals, _ = self.model(batch.images, batch.valid_sizes)
        logits = self._logits
        assert logits is not None
        scores, labels, keep, _ = self._filtering(logits[..., :-1], logits[..., -1], proposals.iou)
        padded, maps = (batch.images.shape[-2], batch.images.shape[-1]), []
        for i, valid in enumerate(batch.valid_sizes):
            size = tuple(batch.panoptic[i].ids.shape) if batch.panoptic else valid
            masks = upsample_masks(proposals.mask_logits[i], padded, valid, size)
            maps.append(merge_panoptic(masks, scores[i], labels[i], keep[i], self.vocabulary.is_thing, overlap=OVERLAP))
        return maps


def score(cfg: DictConfig) -> dict[str, float]:
    """Metrics in percent on COCO's validation set, also written to ``results.json`` in ``cfg.output``.

    Raises:
        WeightsError, DatasetError, InputError: the input is invalid.
    """
    if cfg.model.weights is None:
        raise InputError("no network is given: give model.weights=PATH of a published Mask2Former")
    network = ClosedMask2Former(cfg, device=cfg.device)
    data = instantiate(cfg.data.module, _convert_="object")
    data.setup("test")
    metric = PanopticQuality(is_thing=network.vocabulary.is_thing)
    (loader,) = data.test_dataloader()
    for batch in track(loader, description="Scoring Mask2Former", total=len(loader)):
        moved = batch.to(next(network.model.parameters()).device)
        for prediction, truth in zip(network(moved), moved.panoptic, strict=True):
            metric.update(prediction, truth)
    figures = {f"coco/mask2former/{name}": value for name, value in metric.compute().items()}
    result = {"experiment": cfg.experiment_name, "seed": 0, "metrics": figures, "versions": versions()}
    write_json(Path(cfg.output) / "results.json", result)
    return figures


def main(words: Sequence[str] | None = None) -> None:
    """Evaluates and prints the metrics."""
    given = list(sys.argv[1:] if words is None else words)
    if not given or given[0] in ("-h", "--help"):
        print(__doc__)
        return
    with exit_on_user_error(), refuse_old_names(given):
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            cfg = compose("evaluate", overrides(given))
        for name, value in score(cfg).items():
            print(f"{name}: {value:.1f}")


def overrides(given: Sequence[str]) -> list[str]:
    """Overrides of conf/evaluate.yaml, the given ones last; the run is named by its backbone, as in conf/tables."""
    chosen = dict(word.split("=", 1) for word in given if "=" in word)
    now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    base = [
        "world=real", "backbone=r50", "data=coco", *WITHOUT_CLIP,
        f"experiment_name=mask2former_{chosen.get('backbone', 'r50')}",
        f"output='${{paths.runs}}/${{experiment_name}}/{now}'",
    ]  # fmt: skip
    return [*(word for word in base if word.partition("=")[0] not in chosen), *given]


if __name__ == "__main__":
    main()
