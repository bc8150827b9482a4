"""``opsnet-evaluate``: one pass of the network an image, any number of inference settings scored on its outputs."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from opsnet.errors import InputError
from opsnet.files import write_json
from opsnet.inference import TrainedModel, load_checkpoint
from opsnet.metrics.panoptic_averages import PanopticCounts, summarise
from opsnet.metrics.panoptic_quality import count_image
from opsnet.panoptic.merge import merge_panoptic, upsample_masks
from opsnet.recognition.modulation import domain_similarity, nearest_similarity
from opsnet.reporting.results import versions
from opsnet.settings import Setting, paper_settings, parse_setting
from opsnet.structures import Batch, Embeddings, PanopticMap, PanopticTruth, Proposals
from opsnet.vocabulary import Vocabulary

log = logging.getLogger(__name__)
SIMILARITIES = (0.7, 0.8, 0.9)
"""Cosines to the nearest training name between which PQ is reported apart."""


class SettingScorer:
    """Scores every setting on the outputs of one pass, for one domain.

    Attributes:
        counts: of each setting by name, over all batches so far.
    """

    def __init__(self, trained: TrainedModel, target: Vocabulary, settings: list[Setting]) -> None:
        self.trained, self.settings = trained, settings
        self.target, self.train = trained.text(target), trained.text(trained.train_vocabulary)
        self.groups = _class_groups(
            target.seen_in(trained.train_vocabulary), nearest_similarity(self.target, self.train)
        )
        self.counts = {s.name: PanopticCounts.zeros(len(target.is_thing)) for s in settings}
        self._sources = sorted({s.clip_embeds for s in settings})

    @torch.no_grad()
    def update(self, batch: Batch) -> dict[str, list[PanopticMap]]:
        """Scores a batch; answers the maps of each setting, one an image."""
        model = self.trained.model
        proposals, clip_map = model(batch.images)
        clip = {source: self._clip_embeds(source, batch, proposals, clip_map) for source in self._sources}
        images = _scored_images(proposals, batch, self.target.is_thing.tolist(), self.trained.overlap)
        maps: dict[str, list[PanopticMap]] = {}
        logits: dict[str, tuple[Tensor, Tensor]] = {}
        for setting in self.settings:
            if setting.recognition not in logits:
                embeddings = Embeddings(query=proposals.query_embeds, clip=clip[setting.clip_embeds])
                logits[setting.recognition] = setting.modulation(embeddings, self.target, self.train, model.void_embed)
            scored = setting.filtering(*logits[setting.recognition], proposals.iou)
            results = [image.score(*row) for image, *row in zip(images, *scored, strict=True)]
            maps[setting.name] = [prediction for prediction, _ in results]
            self.counts[setting.name] = sum((counts for _, counts in results), self.counts[setting.name])
        return maps

    def results(self) -> dict[str, dict[str, float]]:
        """``PQ``, ``PQth``, ``PQst``, ``SQ``, ``RQ`` and the PQ of each group of classes, in percent, by setting."""
        return {name: self._figures(counts) for name, counts in self.counts.items()}

    def _figures(self, counts: PanopticCounts) -> dict[str, float]:
        result = summarise(counts, self.target.is_thing.tolist())
        groups = {name: result.of(chosen) for name, chosen in self.groups.items()}
        return {**result.as_dict(), **{f"PQ_{name}": quality.pq for name, quality in groups.items() if quality.n}}

    def _clip_embeds(self, source: str, batch: Batch, proposals: Proposals, clip_map: Tensor) -> Tensor:
        """CLIP's embedding of each proposal, (B, K, D), by Mask Pooling or one of Table 5's baselines."""
        from opsnet.recognition.proposal_crops import cropped_pictures, embed_pictures, masked_pictures

        model, encoder = self.trained.model, self.trained.model.clip.image_encoder
        if source == "pooling":
            size = (batch.images.shape[-2], batch.images.shape[-1])
            return model.embed(proposals, clip_map, size).clip
        if source == "masking":
            pictures = masked_pictures(batch.images, proposals.mask_logits, encoder.image_size, encoder.mean)
        else:
            pictures = cropped_pictures(batch.images, proposals.mask_logits, encoder.image_size)
        return embed_pictures(encoder.embed_whole, pictures, len(batch.images))


def _class_groups(seen: Sequence[bool], nearest: Tensor) -> dict[str, list[bool]]:
    """Classes whose name was trained and the others; and these by their cosine to the nearest training name."""
    groups = {"seen": list(seen), "unseen": [not known for known in seen]}
    edges = (*SIMILARITIES, math.inf)
    for low, high in zip((-math.inf, *SIMILARITIES), edges, strict=True):
        name = f"unseen_from_{low:g}_to_{high:g}".replace("_from_-inf", "").replace("_to_inf", "")
        groups[name] = [not known and low <= h < high for known, h in zip(seen, nearest.tolist(), strict=True)]
    return groups


@dataclass
class _ScoredImage:
    """One image's proposals at full size, upsampled once for all settings, and what was made of them so far."""

    probabilities: Tensor
    iou: Tensor
    truth: PanopticTruth
    is_thing: list[bool]
    overlap: float
    known: dict[bytes, tuple[PanopticMap, PanopticCounts]] = field(default_factory=dict)

    def score(self, scores: Tensor, labels: Tensor, keep: Tensor) -> tuple[PanopticMap, PanopticCounts]:
        """The map that scores, labels and which to keep, each (K,), make, and its counts against the truth.

        Settings that agree on an image, as all strengths of the modulation do in the training domain, share both.
        """
        kept = keep.nonzero()[:, 0]
        key = torch.stack((kept.double(), labels[kept].double(), scores[kept].double())).cpu().numpy().tobytes()
        if key not in self.known:
            prediction = merge_panoptic(
                self.probabilities, scores, labels, keep, self.is_thing, iou=self.iou, overlap=self.overlap
            )
            self.known[key] = prediction, count_image(prediction, self.truth, len(self.is_thing))
        return self.known[key]


def _scored_images(proposals: Proposals, batch: Batch, is_thing: list[bool], overlap: float) -> list[_ScoredImage]:
    padded = (batch.images.shape[-2], batch.images.shape[-1])
    rows = zip(proposals.mask_logits, proposals.iou, batch.panoptic, batch.valid_sizes, strict=True)
    return [_ScoredImage(upsample_masks(m, padded, v), iou, truth, is_thing, overlap) for m, iou, truth, v in rows]


@dataclass
class Evaluation:
    """What an evaluation found: figures by ``<domain>/<setting>/<measure>``, s and seconds by domain."""

    metrics: dict[str, float] = field(default_factory=dict)
    domain_similarity: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def evaluate(cfg: DictConfig) -> Evaluation:
    """Evaluates a checkpoint on every test domain and writes ``results.json`` (and panels).

    Args:
        cfg: conf/evaluate.yaml.

    Raises:
        CheckpointError, DatasetError, InputError: bad input, before anything is computed.
    """
    from hydra.utils import instantiate

    names = [cfg.settings] if isinstance(cfg.settings, str) else cfg.settings or paper_settings()
    settings = [parse_setting(name) for name in names]
    if cfg.panels and cfg.panel_setting not in [s.name for s in settings]:
        raise InputError(f"panel_setting {cfg.panel_setting} is not among `settings`: add it there, or give panels=0")
    trained = load_checkpoint(cfg.checkpoint, clip_weights=cfg.clip_weights, device=cfg.device)
    data = instantiate(cfg.data.module, _convert_="object")
    data.prepare_data()
    data.setup("test")
    evaluation = Evaluation()
    for domain, loader in zip(data.test_names, data.test_dataloader(), strict=True):
        target = data.datasets[f"test/{domain}"].vocabulary
        start = time.monotonic()
        _evaluate_domain(evaluation, domain, loader, trained, target, settings, cfg)
        evaluation.seconds[f"evaluation/{domain}"] = time.monotonic() - start
    result = {
        "experiment": cfg.experiment_name,
        "seed": cfg.seed,
        "metrics": evaluation.metrics,
        "domain_similarity": evaluation.domain_similarity,
        "seconds": evaluation.seconds,
        "versions": versions(),
    }
    write_json(Path(cfg.output) / "results.json", result)
    return evaluation


def _evaluate_domain(
    evaluation: Evaluation, domain: str, loader: Iterable[Batch], trained: TrainedModel, target: Vocabulary,
    settings: list[Setting], cfg: DictConfig,
) -> None:  # fmt: skip
    from rich.progress import track

    scorer = SettingScorer(trained, target, settings)
    device = trained.model.void_embed.device
    shown: list[Any] = []
    for batch in track(loader, description=f"Evaluating {domain}", total=len(loader)):  # type: ignore[arg-type]
        maps = scorer.update(batch.to(device))
        if cfg.panels and len(shown) < cfg.panels:
            shown += _panel_rows(batch, maps[cfg.panel_setting])
    for name, values in scorer.results().items():
        evaluation.metrics.update({f"{domain}/{name}/{key}": value for key, value in values.items()})
    evaluation.domain_similarity[domain] = domain_similarity(scorer.target, scorer.train)
    if shown:
        from opsnet.reporting.overlays import panel

        out = Path(cfg.output) / "panels" / f"{domain}.png"
        panel(shown[: cfg.panels], scorer.target.names, ("picture", "ground truth", "prediction"), out)


def _panel_rows(batch: Batch, maps: list[PanopticMap]) -> list[tuple[Any, PanopticMap, PanopticMap]]:
    rows = []
    for image, (h, w), truth, prediction in zip(batch.images, batch.valid_sizes, batch.panoptic, maps, strict=True):
        pixels = (image[:, :h, :w] * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        rows.append((pixels, PanopticMap(truth.ids, truth.segments), prediction))
    return rows


def run(cfg: DictConfig) -> None:
    """Evaluates and prints the figures as a table."""
    evaluation = evaluate(cfg)
    if not evaluation.metrics:
        raise InputError("data.module.test names no domain: choose a data group with test sets, e.g. data=scenes")
    if cfg.table:
        _print(evaluation)


def _print(evaluation: Evaluation) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("setting", "PQ", "PQth", "PQst", "SQ", "RQ", title="percent")
    for name in [key.removesuffix("/PQ") for key in evaluation.metrics if key.endswith("/PQ")]:
        table.add_row(name, *(f"{evaluation.metrics[f'{name}/{m}']:.1f}" for m in ("PQ", "PQth", "PQst", "SQ", "RQ")))
    Console().print(table)


def main() -> None:
    """Console entry point."""
    import hydra

    from opsnet.configuration import config_dir
    from opsnet.errors import one_sentence_errors

    with one_sentence_errors():
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="evaluate")(run)()


if __name__ == "__main__":
    main()
