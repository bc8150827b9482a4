"""One pass over the twenty settings of Table 6 against a single evaluation, for scripts.benchmarks.pairs --only sweep.

===================== ================================================================================================
``sweep_miniature``   both read, segment and score sixteen scenes of each domain; the network is that of the checkpoint,
                      untrained without one
``sweep_network``     both run the R50 network with CLIP RN50 (random weights) on two images of 480 x 640, and score
                      100 random blobs per image as proposals, because masks of an untrained network are noise
``sweep_scoring``     the same without the network: both only score
``sweep_dense``       twenty settings scored against one setting by the dense merge, as ``opsnet-predict`` merges
===================== ================================================================================================
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from torch import Tensor

from opsnet.checkpoint.loading import load_checkpoint
from opsnet.data.batching import collate
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.evaluation.scorer import SettingScorer
from opsnet.inference.config import InferenceConfig
from opsnet.inference.names import DomainNames
from opsnet.inference.network_output import NetworkOutput, run_network
from opsnet.inference.segment import segment
from opsnet.inference.settings import Setting, parse_setting
from opsnet.inference.trained_model import TrainedModel
from opsnet.metrics.panoptic_quality import PanopticQuality
from opsnet.miniature.scenes import DOMAINS, write_world
from opsnet.paper.rows import table_rows
from opsnet.recognition.recognizer import prepare
from opsnet.structures import Batch, GroundTruth, Proposals, Segment, TextBank
from opsnet.vocabulary import Vocabulary
from scripts.benchmarks.pair import Pair
from scripts.benchmarks.untrained import untrained_config

GRID = [parse_setting(row.measured_as) for row in table_rows(6)]
ONE = [setting for setting in GRID if setting.name == "alpha=10,beta=0.5/cls_iou"]
IMAGES, SIZE, QUERIES, SEGMENTS, DIM = 2, (480, 640), 100, 20, 1024


def miniature(checkpoint: Path | None) -> Pair:
    """``sweep_miniature``."""
    disk = tempfile.TemporaryDirectory(
        prefix="opsnet_benchmark_"
    )  # removed together with `evaluate`, which references it
    write_world(disk.name, seed=0, train=0, val=0, test=16, labels=1, workers=1)
    trained = load_checkpoint(checkpoint, device="cpu") if checkpoint else _untrained(["world=scenes"], "scenes")
    sets = [
        PanopticDataset(
            images=Path(disk.name) / name / "test", vocabulary=name,
            annotations=Path(disk.name) / name / "annotations" / "panoptic_test.json",
        )
        for name in DOMAINS
    ]  # fmt: skip
    domains = [trained.domain(data.vocabulary) for data in sets]

    def evaluate(settings: list[Setting]) -> list[dict[str, float]]:
        assert disk
        found = []
        for data, domain in zip(sets, domains):
            batch = collate([data[i] for i in range(16)], vocabulary=domain.target.name, with_ground_truth=True)
            scorer = SettingScorer(domain, settings)
            scorer.score(run_network(trained.model, batch), batch.panoptic, with_maps=[])
            found.append(scorer.results()[ONE[0].name])
        return found

    return _pair(
        lambda: evaluate(GRID), lambda: evaluate(ONE), "PQ " + " ".join(f"{f['PQ']:.1f}" for f in evaluate(ONE))
    )


def network(checkpoint: Path | None) -> Pair:
    """``sweep_network``."""
    trained, (domain, output, truths) = _untrained(["backbone=r50", "data=coco"], "coco"), _random()
    images = torch.rand(IMAGES, 3, *SIZE, generator=torch.Generator().manual_seed(0))

    def evaluate(settings: list[Setting]) -> dict[str, float]:
        for image in images:  # one at a time, as in the evaluation of real datasets
            run_network(trained.model, Batch(image[None], [SIZE], [0], "coco"))
        return _score(domain, output, truths, settings)

    return _pair(lambda: evaluate(GRID), lambda: evaluate(ONE), _kept(domain, output))


def scoring(checkpoint: Path | None) -> Pair:
    """``sweep_scoring``."""
    domain, output, truths = _random()
    return _pair(
        lambda: _score(domain, output, truths, GRID), lambda: _score(domain, output, truths, ONE), _kept(domain, output)
    )


def dense(checkpoint: Path | None) -> Pair:
    """``sweep_dense``."""
    domain, output, truths = _random()
    is_thing = domain.target.is_thing.tolist()

    def once() -> dict[str, float]:
        quality = PanopticQuality(is_thing=is_thing)
        logits = ONE[0].recognizer(output.embeddings(), domain.names, domain.no_object_embed)
        maps = segment(output, *logits, is_thing, filtering=ONE[0].filtering, overlap=domain.overlap)
        for prediction, truth in zip(maps, truths, strict=True):
            quality.update(prediction, truth)
        return quality.compute()

    return _pair(lambda: _score(domain, output, truths, GRID), once, _kept(domain, output))


SWEEPS: dict[str, Callable[[Path | None], Pair]] = {
    "sweep_miniature": miniature,
    "sweep_network": network,
    "sweep_scoring": scoring,
    "sweep_dense": dense,
}


def _pair(grid: Callable[[], Any], one: Callable[[], Any], about: str) -> Pair:
    a, b = grid(), one()
    if isinstance(a, dict):
        a = {key: a[key] for key in b}  # the dense side returns only PQ
    return Pair(grid, one, f"{about}; {'metrics equal' if a == b else 'metrics DIFFER'}")


@torch.no_grad()
def _score(
    domain: DomainNames, output: NetworkOutput, truths: list[GroundTruth], settings: list[Setting]
) -> dict[str, float]:  # fmt: skip
    """The metrics of the single setting, regardless of which others are scored too."""
    scorer = SettingScorer(domain, settings)
    scorer.score(output, truths, with_maps=[])
    return scorer.results()[ONE[0].name]


def _untrained(overrides: list[str], vocabulary: str) -> TrainedModel:
    torch.manual_seed(0)
    cfg = untrained_config(overrides)
    model = instantiate(cfg.model, backbone=cfg.backbone, clip=cfg.clip)
    inference = InferenceConfig(instantiate(cfg.filtering).settings(), overlap=cfg.overlap)
    return TrainedModel(model.eval(), Vocabulary.load(vocabulary), inference)


def _random() -> tuple[DomainNames, NetworkOutput, list[GroundTruth]]:
    """150 target and 133 training names; per image twenty segments, and proposals near them, some well classified."""
    generator = torch.Generator().manual_seed(0)

    def rand(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator)

    def directions(*size: int) -> Tensor:
        return F.normalize(torch.randn(*size, DIM, generator=generator), dim=-1)

    common, train, new = directions(), directions(133), directions(90)
    # Text embeddings lie in a cone. The first 60 target names are training names.
    names = [F.normalize(rows + 1.5 * common, dim=-1) for rows in (train, torch.cat((train[:60], new)))]
    banks = [
        TextBank(key, tuple(map(str, range(len(rows)))), torch.arange(len(rows)) % 3 > 0, rows)
        for key, rows in zip(("train", "target"), names)
    ]
    no_object = F.normalize(directions() + 1.5 * common, dim=-1)
    domain = DomainNames(prepare(banks[1], banks[0]), (True,) * 60 + (False,) * 90, no_object, 0.8)
    truths, masks, labels = [], [], torch.randint(150, (IMAGES, QUERIES), generator=generator)
    for i in range(IMAGES):
        centres = rand(SEGMENTS, 2) * torch.tensor(SIZE)
        ids = _distances(centres, 1).argmin(0) + 1
        truths.append(GroundTruth(ids, tuple(Segment(k + 1, int(labels[i, k]), True) for k in range(SEGMENTS))))
        moved = centres.repeat(QUERIES // SEGMENTS, 1) + 12 * torch.randn(QUERIES, 2, generator=generator)
        own, others = _distances(moved, 4), _distances(centres, 4)
        nearest = others.topk(2, dim=0, largest=False).values
        ragged = F.interpolate(
            torch.randn(1, QUERIES, 15, 20, generator=generator), size=own.shape[1:], mode="bilinear"
        )
        rival = torch.where(own.argmin(0) == torch.arange(QUERIES)[:, None, None], nearest[1], nearest[0])
        masks.append((rival - own) / 4 + 2 * ragged[0])
    # As in a trained network, most proposals are no-object.
    called = torch.where((torch.arange(QUERIES) % 10 < 3)[:, None], names[1][labels], no_object)
    embeds = [F.normalize(called + (0.5 + 1.0 * rand(IMAGES, QUERIES, 1)) * directions(IMAGES, QUERIES), dim=-1)
              for _ in range(2)]  # fmt: skip
    proposals = Proposals(torch.stack(masks), embeds[0], rand(IMAGES, QUERIES))
    batch = Batch(torch.zeros(IMAGES, 3, *SIZE), [SIZE] * IMAGES, list(range(IMAGES)), "random")
    return domain, NetworkOutput.of(proposals, batch, {"pooling": embeds[1]}), truths


def _distances(centres: Tensor, stride: int) -> Tensor:
    """Distance in pixels of every pixel from every centre, (n, H / stride, W / stride)."""
    grid = torch.meshgrid(*(torch.arange(0.0, side, stride) for side in SIZE), indexing="ij")
    return (torch.stack(grid, dim=-1) - centres[:, None, None]).norm(dim=-1)


def _kept(domain: DomainNames, output: NetworkOutput) -> str:
    """The smallest and largest number of proposals that the twenty settings keep."""
    counts = []
    for setting in GRID:
        logits = setting.recognizer(output.embeddings(), domain.names, domain.no_object_embed)
        counts += setting.filtering(*logits, output.proposals.iou).keep.sum(1).tolist()
    return f"{min(counts)} to {max(counts)} of {QUERIES} kept"
