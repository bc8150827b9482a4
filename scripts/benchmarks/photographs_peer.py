"""Trains OPSNet or transformers' Mask2Former on CamVid from the same weights: learning curve and seconds per step.

Usage: python -m scripts.benchmarks.photographs_peer ours|peer backbone.weights=FILE [KEY=VALUE ...]

KEY=VALUE are overrides of ``opsnet-train experiment=camvid``; the maps of the validation images are scored every
``trainer.check_val_every_n_epoch`` epochs. Both have the same backbone and weights, widths, layers, queries, batches,
points, loss weights, optimizer, schedule, clipping and precision; frozen norms are folded into convolutions in ours
only (backbone.fold_norms), because transformers does not support it. Ours has cosine logits of the class names and the
IoU head, the peer a class head. The peer always has 4 sampling points per head and level and an FPN as wide as its
encoder, so ours has too. results.json in the run's folder has PQ and mIoU by epoch and the median CPU seconds per step
of this process, which has one thread; worker processes read the images.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn

from opsnet.inference.network_output import NetworkOutput, run_network
from opsnet.inference.segment import segment
from opsnet.inference.settings import parse_filtering
from opsnet.metrics.image_overlaps import image_overlaps
from opsnet.metrics.panoptic_quality import PanopticQuality
from opsnet.metrics.results import versions
from opsnet.metrics.semantic import SemanticCounts, count_semantic, summarise_semantic
from opsnet.structures import Batch, PanopticMap, Proposals, SegmentTargets, TextBank
from opsnet.training.callbacks import SeedEveryStep
from opsnet.training.module import OPSNetModule
from opsnet.training.run import build_module
from opsnet.utils.configuration import config_dir
from opsnet.utils.errors import InputError, exit_on_user_error
from opsnet.utils.files import write_json
from opsnet.vocabulary import Vocabulary

SIDES = ("ours", "peer")
EQUAL = ["model.pixel_decoder.points=4", "model.pixel_decoder.fine_dim=null"]
FILTERS = ("cls", "iou", "cls_iou", "cls_iou_filter")
Maps = dict[str, list[PanopticMap]]


@torch.no_grad()
def our_maps(module: OPSNetModule, batch: Batch) -> Maps:
    """OPSNet's panoptic maps of a batch, by filter."""
    output, names = run_network(module.model, batch), module.names.prepared(module.train_vocabulary)
    logits, no_object = module.recognizer(output.embeddings(), names, module.model.no_object_embed)
    return _maps(FILTERS, output, logits, no_object, names.target, module.overlap)


class Peer(L.LightningModule):
    """transformers' Mask2Former with our backbone, trained with its own loss and our optimizer and schedule."""

    def __init__(self, cfg: DictConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.overlap = cfg.overlap
        self.build_optimizer, self.build_scheduler = (instantiate(cfg.optim[k]) for k in ("optimizer", "scheduler"))
        # Registered first, because the optimizer identifies the backbone by its parameter names.
        self.backbone = instantiate(cfg.backbone, fold_norms=False)
        self.mask2former = _mask2former(cfg, len(vocabulary))
        self.mask2former.model.pixel_level_module.encoder = _Encoder(self.backbone)
        is_thing = torch.tensor(vocabulary.is_thing)
        self.names = TextBank(vocabulary.name, vocabulary.names, is_thing, torch.zeros(len(vocabulary), 1))
        self.to(memory_format=torch.channels_last)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The loss of a batch."""
        assert isinstance(batch.targets, SegmentTargets)
        masks = [m.float() for m in batch.targets.masks]
        loss: Tensor = self.mask2former(batch.images, mask_labels=masks, class_labels=batch.targets.labels).loss
        return loss.sum()

    def configure_optimizers(self) -> Any:
        """Same as ours."""
        optimizer = self.build_optimizer(self)
        scheduler = self.build_scheduler(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


@torch.no_grad()
def peer_maps(module: Peer, batch: Batch) -> Maps:
    """The peer's panoptic maps of a batch."""
    found = module.mask2former(batch.images)
    logits, masks = found.class_queries_logits, found.masks_queries_logits
    proposals = Proposals(masks, masks.new_zeros(*masks.shape[:2], 1), masks.new_ones(masks.shape[:2]))
    output = NetworkOutput.of(proposals, batch)
    return _maps(("cls",), output, logits[..., :-1], logits[..., -1], module.names, module.overlap)


class _Encoder(nn.Module):
    """Our backbone with the interface of transformers, so that normalisation and frozen layers are the same code."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.channels = backbone, list(backbone.channels)

    def forward(self, images: Tensor) -> SimpleNamespace:
        """Images (B, 3, H, W), RGB in 0..1 -> ``feature_maps``, finest first."""
        return SimpleNamespace(feature_maps=self.backbone(images.contiguous(memory_format=torch.channels_last)))


def _mask2former(cfg: DictConfig, classes: int) -> Any:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, TimmBackboneConfig

    pixel, query, losses = cfg.model.pixel_decoder, cfg.model.query_decoder, cfg.losses
    config = Mask2FormerConfig(
        backbone_config=TimmBackboneConfig(backbone=cfg.backbone.name, out_indices=list(cfg.backbone.out_indices)),
        feature_size=pixel.dim, mask_feature_size=pixel.mask_dim, hidden_dim=query.dim,
        encoder_feedforward_dim=pixel.hidden, encoder_layers=pixel.layers, decoder_layers=query.layers + 1,
        num_attention_heads=query.heads, dim_feedforward=query.hidden, num_queries=query.queries, dropout=0.0,
        no_object_weight=losses.cross_entropy.no_object_weight, class_weight=losses.cross_entropy.weight,
        mask_weight=losses.mask_bce.weight, dice_weight=losses.dice.weight, train_num_points=cfg.matching.points,
        num_labels=classes,
    )  # fmt: skip
    return Mask2FormerForUniversalSegmentation(config)


def _maps(
    filters: Sequence[str], output: NetworkOutput, logits: Tensor, no_object: Tensor, names: TextBank, overlap: float
) -> Maps:
    is_thing = names.is_thing.tolist()
    return {
        name: segment(output, logits, no_object, is_thing, filtering=parse_filtering(name), overlap=overlap)
        for name in filters
    }


class Curve(L.Callback):
    """Scores the validation images every ``every`` epochs and times the steps."""

    def __init__(self, maps: Callable[[Any, Batch], Maps], loader: Any, is_thing: Sequence[bool], every: int) -> None:
        self.maps, self.loader, self.is_thing, self.every = maps, loader, is_thing, every
        self.scores: dict[str, float] = {}
        self.seconds: list[float] = []
        self._start = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        """Starts the clock, which measures CPU time to exclude other work on the machine."""
        self._start = time.process_time()

    def on_train_batch_end(self, *_: Any) -> None:
        """Stops the clock."""
        self.seconds.append(time.process_time() - self._start)

    def on_train_epoch_end(self, trainer: L.Trainer, module: Any) -> None:
        """Scores the maps."""
        epoch = trainer.current_epoch + 1
        if epoch % self.every and epoch != trainer.max_epochs:
            return
        module.eval()
        quality, pixels = {}, {}
        for batch in self.loader:
            for kind, maps in self.maps(module, batch).items():
                metric = quality.setdefault(kind, PanopticQuality(is_thing=self.is_thing))
                for found, truth in zip(maps, batch.panoptic, strict=True):
                    metric.update(found, truth)
                    counts = count_semantic(image_overlaps(found, truth, len(self.is_thing)))
                    pixels[kind] = pixels.get(kind, SemanticCounts.zeros(len(self.is_thing))) + counts
        module.train()
        for kind in quality:
            row = {"PQ": quality[kind].compute()["PQ"], "mIoU": summarise_semantic(pixels[kind]).miou}
            print(f"epoch {epoch} {kind}: " + ", ".join(f"{k} {v:.1f}" for k, v in row.items()), flush=True)
            self.scores.update({f"epoch {epoch}/{kind}/{k}": v for k, v in row.items()})


def compare(side: str, cfg: DictConfig) -> dict[str, Any]:
    """Trains one side and writes the returned results to ``results.json`` in ``cfg.output``.

    Raises:
        DatasetError, InputError: the input is invalid; raised before training starts.
    """
    torch.set_num_threads(1)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    data = instantiate(cfg.data.module, _convert_="object")
    data.setup("fit")
    vocabulary = data.datasets["train"].vocabulary
    module = build_module(cfg, vocabulary) if side == "ours" else Peer(cfg, vocabulary)
    maps: Any = our_maps if side == "ours" else peer_maps
    curve = Curve(maps, data.val_dataloader(), vocabulary.is_thing, cfg.trainer.check_val_every_n_epoch)
    trainer = instantiate(
        cfg.trainer, accumulate_grad_batches=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        limit_val_batches=0, default_root_dir=cfg.output, callbacks=[curve, SeedEveryStep(seed=cfg.seed)],
    )  # fmt: skip
    trainer.fit(module, data)
    found = {
        "side": side, "seed": cfg.seed, "steps": trainer.global_step, "validation": curve.scores,
        "cpu_seconds_per_step": statistics.median(curve.seconds), "precision": cfg.trainer.precision,
        "versions": versions(),
    }  # fmt: skip
    write_json(Path(cfg.output) / "results.json", found)
    return found


def main(words: Sequence[str] | None = None) -> None:
    """Trains the side given on the command line and prints a summary."""
    given = list(sys.argv[1:] if words is None else words)
    if not given or given[0] in ("-h", "--help"):
        print(__doc__)
        return
    side, *overrides = given
    with exit_on_user_error():
        if side not in SIDES:
            raise InputError(f"'{side}' is unknown: give {' or '.join(SIDES)} first, then KEY=VALUE")
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
            output = f"output='${{paths.runs}}/camvid_{side}/{now}'"
            cfg = compose("train", ["experiment=camvid", *EQUAL, output, *overrides])
        found = compare(side, cfg)
        print(f"{found['steps']} steps, {found['cpu_seconds_per_step']:.2f} CPU seconds each")


if __name__ == "__main__":
    main()
