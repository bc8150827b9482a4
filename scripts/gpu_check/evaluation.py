"""Evaluation of images from file to score: pace, the share outside the network, synchronisations and memory."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from torch import Tensor

from opsnet.evaluation.domains import evaluate_domain
from opsnet.evaluation.plan import Plan
from opsnet.evaluation.sources import EvaluatedBatch, NetworkSource
from opsnet.inference.config import InferenceConfig
from opsnet.inference.names import DomainNames
from opsnet.inference.network_output import POOLING, NetworkOutput
from opsnet.inference.settings import Setting, parse_setting
from opsnet.inference.trained_model import TrainedModel
from opsnet.paper.rows import table_rows
from opsnet.recognition.recognizer import prepare
from opsnet.structures import GroundTruth, Proposals, TextBank
from opsnet.vocabulary import Vocabulary
from scripts.gpu_check.data import configure
from scripts.gpu_check.measure import Setup, counted_syncs, describe_syncs, gib, synchronize
from scripts.gpu_check.report import Table

SETTINGS = {"1 setting": ["full/cls_iou"], "Table 6": [row.measured_as for row in table_rows(6)]}
PQ_BOUND = 50
"""Least PQ of predictions near the ground truth: less means that naming or merging went wrong."""


@dataclass
class AsIfTrained:
    """Runs the network on every image, then replaces its predictions, which are noise, by those of ``outputs``.

    Attributes:
        source: runs the network.
        names: random text embeddings of its vocabulary.
        outputs: one per batch, near the ground truth.
    """

    source: NetworkSource
    names: DomainNames
    outputs: list[NetworkOutput]

    def __iter__(self) -> Iterator[EvaluatedBatch]:
        for batch, output in zip(self.source, self.outputs, strict=True):
            yield EvaluatedBatch(output, batch.truths)


def check_evaluation(setup: Setup) -> list[Table]:
    """One setting and the twenty of Table 6."""
    columns = (
        "settings", "images per second", "network alone (images per second)", "share outside the network",
        "synchronisations per image", "peak (GiB)", "PQ", "PQ on the CPU",
    )  # fmt: skip
    images = 4 if setup.quick else 32
    table = Table(f"Evaluation of {images} images with OPSNet R50", columns)
    table.notes.append(
        "Images of 640 x 480 pixels with 20 segments, resized to 800 pixels; the network has random weights, so its "
        "predictions are replaced by one per segment near the ground truth and no-object for the other queries. The "
        "share outside the network includes loading, naming, merging and scoring as far as they do not run beside it. "
        "Scoring on the CPU gets the same predictions."
    )
    try:
        source, data = _source(setup, images)
    except Exception as error:
        table.failures.append(f"{type(error).__name__}: {error}")
        return [table]
    for name, settings in SETTINGS.items():
        table.measure(name, partial(_row, source, data, settings, name, setup, table))
    return [table]


def _source(setup: Setup, images: int) -> tuple[AsIfTrained, Any]:
    """The source of a random network on random images, and the dataset."""
    enough = ["model.query_decoder.queries=24"] if setup.quick else []  # for 20 segments
    cfg = configure(setup, train=4, val=images, overrides=enough)
    torch.manual_seed(0)
    model = instantiate(cfg.model, backbone=cfg.backbone, clip=cfg.clip).eval().to(setup.device)
    inference = InferenceConfig(instantiate(cfg.filtering).settings(), overlap=cfg.overlap)
    trained = TrainedModel(model, Vocabulary.load("coco"), inference)
    data = instantiate(cfg.data.module, _convert_="object")
    data.setup("test")
    dataset = data.datasets["test/coco"]
    source = NetworkSource(trained, data.test_dataloader()[0], dataset, (POOLING,))
    names = _random_names(source.names)
    return AsIfTrained(source, names, [near_truth(batch, names) for batch in source]), dataset


def _random_names(domain: DomainNames) -> DomainNames:
    """The domain with directions in a cone as text embeddings: those of an untrained CLIP are nearly equal."""
    device, target = domain.no_object_embed.device, domain.target
    directions = torch.randn(len(target.names) + 2, len(domain.no_object_embed))
    rows = F.normalize(directions[1:] + 1.5 * directions[:1], dim=-1).to(device)
    bank = TextBank(target.name, target.names, target.is_thing, rows[:-1])
    return dataclasses.replace(domain, names=prepare(bank, bank), no_object_embed=rows[-1])


def near_truth(batch: EvaluatedBatch, domain: DomainNames) -> NetworkOutput:
    """The output for a batch of one image with predictions near its ground truth, the other queries no-object."""
    output, (truth,) = batch.output, batch.truths
    queries = output.proposals.mask_logits.shape[1]
    segments = truth.segments[:queries]
    masks, iou = output.proposals.mask_logits.new_full(output.proposals.mask_logits.shape, -6.0), torch.zeros(queries)
    masks[0, : len(segments)] = _coarse(truth, len(segments), output)
    iou[: len(segments)] = 0.6 + 0.4 * torch.rand(len(segments))
    text, no_object = domain.target.embeds, domain.no_object_embed
    labels = torch.tensor([segment.label for segment in segments], device=text.device)
    called = torch.cat((text[labels], no_object.expand(queries - len(segments), -1)))[None]
    embeds = [F.normalize(called + 0.5 * F.normalize(torch.randn_like(called), dim=-1), dim=-1) for _ in range(2)]
    proposals = Proposals(masks, embeds[0], iou[None].to(masks))
    return dataclasses.replace(output, proposals=proposals, clip={POOLING: embeds[1]})


def _coarse(truth: GroundTruth, count: int, output: NetworkOutput) -> Tensor:
    """Mask logits (count, h, w) of the first segments, at the size of the network's masks."""
    height, width = output.proposals.mask_logits.shape[-2:]
    size = [
        max(1, round(whole * valid / padded))
        for whole, valid, padded in zip((height, width), output.valid_sizes[0], output.padded)
    ]
    inside = torch.stack([truth.ids == segment.id for segment in truth.segments[:count]]).float()
    small = F.interpolate(inside[None], size=size, mode="bilinear", antialias=True, align_corners=False)[0]
    return F.pad(12 * small - 6, (0, width - size[1], 0, height - size[0]), value=-6.0)


def _row(source: AsIfTrained, dataset: Any, settings: list[str], name: str, setup: Setup, table: Table) -> list[str]:
    parsed: tuple[Setting, ...] = tuple(parse_setting(setting) for setting in settings)
    plan, chosen = Plan(parsed, setup.folder / "evaluation"), parsed[-1].name
    if setup.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    evaluate_domain("warm-up", source, dataset, plan)
    whole, results = _timed(lambda: evaluate_domain("coco", source, dataset, plan), setup)
    peak = torch.cuda.max_memory_allocated() / 2**30 if setup.device == "cuda" else None
    network, _ = _timed(lambda: [None for _ in source.source], setup)
    with counted_syncs(setup.device) as places:
        evaluate_domain("synchronisations", source, dataset, plan)
    syncs = "-"
    if setup.device == "cuda":
        table.notes.append(describe_syncs(places, len(dataset), f"image, {name}"))
        syncs = f"{places.total() / len(dataset):.1f}"
    pq, on_cpu = results.metrics[f"{chosen}/PQ"], _on_cpu(source, dataset, plan)[f"{chosen}/PQ"]
    if not abs(pq - on_cpu) < 0.1 or pq < PQ_BOUND:
        raise ArithmeticError(f"PQ {pq:.2f}, on the CPU {on_cpu:.2f}; both should be equal and at least {PQ_BOUND}")
    return [
        f"{len(dataset) / whole:.2f}", f"{len(dataset) / network:.2f}", f"{max(0.0, 1 - network / whole):.0%}", syncs,
        gib(peak), f"{pq:.3f}", f"{on_cpu:.3f}",
    ]  # fmt: skip


def _timed(run: Any, setup: Setup) -> tuple[float, Any]:
    """Seconds and the result."""
    synchronize(setup.device)
    start = time.perf_counter()
    result = run()
    synchronize(setup.device)
    return time.perf_counter() - start, result


def _on_cpu(source: AsIfTrained, dataset: Any, plan: Plan) -> dict[str, float]:
    """The metrics of the same predictions, scored on the CPU."""
    truths = [[GroundTruth(truth.ids.cpu(), truth.segments) for truth in batch.truths] for batch in source]
    batches = [EvaluatedBatch(output.to("cpu"), own) for output, own in zip(source.outputs, truths)]
    return evaluate_domain("on the CPU", _Given(batches, source.names.to("cpu")), dataset, plan).metrics


@dataclass
class _Given:
    """A source of given batches."""

    batches: list[EvaluatedBatch]
    names: DomainNames

    def __iter__(self) -> Iterator[EvaluatedBatch]:
        return iter(self.batches)
