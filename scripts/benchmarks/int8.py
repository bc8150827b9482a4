"""A network whose linear layers are int8 against the same network in fp32, on a CPU: seconds, weights, masks, names.

    python -m scripts.benchmarks.int8 last.ckpt --pq data=scenes
    python -m scripts.benchmarks.int8 random --size 640

``torch.ao.quantization.quantize_dynamic`` makes the linear layers of backbone, pixel decoder, query decoder and CLIP's
image encoder int8; their inputs are quantised at each call. PyTorch has deprecated it in favour of torchao (its
warnings are silenced here): this script measures what it would bring, it is not a way to use it. The image encoder of
a CLIP ConvNeXt stays in fp32, because its blocks read the weights of their linear layers.

Both networks run on one thread, on the images of a folder or on drawn scenes. They are timed, in turns on every image,
and compared: masks, the best training names, and masks of images in a batch with those of the same images one by one
(an input is quantised by its range over the batch). Random weights are not compared, their masks mean nothing.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.ao.nn.quantized.dynamic import Linear as Int8Linear

from opsnet.clip.trunks import ConvNeXtTrunk
from opsnet.evaluation.scorer import SettingScorer
from opsnet.evaluation.sources import NetworkSource
from opsnet.exporting.parity import drawn_batch
from opsnet.inference.config import InferenceConfig
from opsnet.inference.network_output import NetworkOutput
from opsnet.inference.segment import merge
from opsnet.inference.settings import parse_setting
from opsnet.inference.trained_model import TrainedModel
from opsnet.model import OPSNet
from opsnet.panoptic.mask_filtering import Filtered
from opsnet.prediction.predictor import Predictor
from opsnet.prediction.sources import image_source
from opsnet.published.open_model import open_model
from opsnet.utils.configuration import config_dir
from opsnet.utils.errors import exit_on_user_error
from opsnet.vocabulary import Vocabulary
from scripts.benchmarks.untrained import untrained_config

RANDOM = "random"
FCCLIP_R50 = ("model=fcclip", "backbone=clip", "clip=rn50", "clip.model.weights=random", "+clip.pooling=attention")


def random_network() -> TrainedModel:
    """FC-CLIP with ResNet-50 at its full size, with random weights."""
    torch.manual_seed(0)
    cfg = untrained_config(FCCLIP_R50)
    model = instantiate(cfg.model, backbone=cfg.backbone, clip=cfg.clip).eval()
    return TrainedModel(model, Vocabulary.load("coco"), InferenceConfig({"kind": "cls"}))


def parts_of(model: OPSNet) -> list[nn.Module]:
    """Backbone, decoders and CLIP's image encoder: what runs for an image."""
    return [model.backbone, model.pixel_decoder, model.query_decoder, model.clip.image_encoder]


def with_int8(trained: TrainedModel) -> TrainedModel:
    """A copy of the network with int8 linear layers."""
    model = copy.deepcopy(trained.model)
    is_convnext = isinstance(model.clip.image_encoder.trunk, ConvNeXtTrunk)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*quantiz.*deprecated")
        for part in parts_of(model)[: 3 if is_convnext else 4]:
            torch.ao.quantization.quantize_dynamic(part, {nn.Linear}, dtype=torch.qint8, inplace=True)
    return dataclasses.replace(trained, model=model)


def mebibytes(model: OPSNet) -> float:
    """Size of the weights of :func:`parts_of`; those that parts share count once."""
    tensors: dict[int, Tensor] = {}  # by address
    for module in {m: None for part in parts_of(model) for m in part.modules()}:
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if isinstance(module, Int8Linear):
            own = [t for t in (module.weight(), module.bias()) if t is not None]  # copies of what it has packed
        tensors |= {t.data_ptr(): t for t in own}
    return sum(t.nbytes for t in tensors.values()) / 2**20


def mask_ious(logits: Tensor, others: Tensor) -> list[float]:
    """IoU of the masks of two tensors (B, K, h, w) of logits, B * K values; 1 if both masks are empty."""
    a, b = logits >= 0, others >= 0
    shared, either = (a & b).flatten(2).sum(2), (a | b).flatten(2).sum(2)
    return torch.where(either > 0, shared / either.clamp(min=1), 1.0).flatten().tolist()


@torch.no_grad()
def segments(predictor: Predictor, output: NetworkOutput) -> tuple[list[int], list[int]]:
    """Queries of the segments of an image's map, labelled with the training names, and the best name of every query."""
    trained, names = predictor.trained, predictor.trained.names.prepared(predictor.train_vocabulary)
    logits, no_object = trained.recognizer(output.embeddings(), names, trained.model.no_object_embed)
    rows = predictor.filtering(logits, no_object, output.proposals.iou)
    kept = rows.keep[0].nonzero()[:, 0]
    own = Filtered(*(values[0][kept] for values in rows))
    found = merge(output, 0, kept, own, names.target.is_thing.tolist(), predictor.overlap).segments
    return [s.proposal for s in found if s.proposal is not None], logits[0].argmax(-1).tolist()


def timed(predictors: Mapping[str, Predictor], images: Sequence[Any], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of every pass; the networks take turns on every image. A first round is not counted."""
    seconds: dict[str, list[float]] = {key: [] for key in predictors}
    for _ in range(rounds + 1):
        for image in images:
            for key, predictor in predictors.items():
                start = time.process_time()
                predictor.propose(image)
                seconds[key].append(time.process_time() - start)
    return {key: values[len(images) :] for key, values in seconds.items()}


def report_masks(fp32: Predictor, int8: Predictor, images: Sequence[Any]) -> Iterator[str]:
    """Lines on masks and names."""
    every, chosen, same = list[float](), list[float](), list[bool]()
    for image in images:
        a, b = fp32.propose(image), int8.propose(image)
        (queries, best), (_, other) = segments(fp32, a), segments(int8, b)
        ious = mask_ious(a.proposals.mask_logits, b.proposals.mask_logits)
        every += ious
        chosen += [ious[q] for q in queries]
        same += [best[q] == other[q] for q in queries]
    yield f"masks of the same query: mean IoU {fmean(every):.4f} of {len(every)} queries"
    if same:
        yield f"masks of the queries that are segments in fp32: mean IoU {fmean(chosen):.4f} of {len(chosen)}"
    yield f"segments in fp32 whose query has the same best name in int8: {sum(same)} of {len(same)}"


def report_batch(predictors: Mapping[str, Predictor], images: Sequence[Any]) -> str:
    """A line on how much masks depend on the other images of a batch; ``images`` have one size."""
    found = []
    for key, predictor in predictors.items():
        alone = torch.cat([predictor.propose(image).proposals.mask_logits for image in images])
        together = predictor.propose(images).proposals.mask_logits
        found.append(f"{key} {fmean(mask_ious(together, alone)):.4f}")
    return f"masks of {len(images)} drawn scenes in a batch and one by one: mean IoU {', '.join(found)}"


def report_cost(predictors: Mapping[str, Predictor], images: Sequence[Any], rounds: int) -> Iterator[str]:
    """Lines on time and weights."""
    seconds = timed(predictors, images, rounds)
    middle = {key: median(values) for key, values in seconds.items()}
    weights = {key: mebibytes(predictor.trained.model) for key, predictor in predictors.items()}
    for key, values in seconds.items():
        yield (
            f"{key}: {middle[key]:.4f} CPU seconds per image (median of {len(values)}, {min(values):.4f} to "
            f"{max(values):.4f}), {weights[key]:.1f} MiB of weights"
        )
    yield f"fp32 / int8: time {middle['fp32'] / middle['int8']:.2f}, weights {weights['fp32'] / weights['int8']:.2f}"


@torch.no_grad()
def scores(trained: TrainedModel, overrides: Sequence[str]) -> dict[str, dict[str, float]]:
    """PQ, mIoU and the like in percent by test domain, with the network's own recognizer and filter.

    Args:
        trained: the network.
        overrides: of conf/evaluate.yaml, to select the test sets.
    """
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = compose("evaluate", [*overrides, "output=."])
    data = instantiate(cfg.data.module, _convert_="object")
    data.prepare_data()
    data.setup("test")
    own = parse_setting("trained/trained", trained=trained.inference.mask_filtering, recognizer=trained.recognizer)
    found: dict[str, dict[str, float]] = {}
    for domain, loader in zip(data.test_names, data.test_dataloader(), strict=True):
        source = NetworkSource(trained, loader, data.datasets[f"test/{domain}"], (own.clip_embeds,))
        scorer = SettingScorer(source.names, [own])
        for batch in source:
            scorer.score(batch.output, batch.truths, with_maps=())
        found[domain] = scorer.results()[own.name]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help=f"what opsnet.load opens, or '{RANDOM}': FC-CLIP R50 with random weights")
    parser.add_argument("--images", metavar="FOLDER", help="default: drawn scenes")
    parser.add_argument("--count", type=int, default=8, help="number of images")
    parser.add_argument(
        "--size", type=int, default=96, help="side length in pixels of drawn scenes, padded to a multiple of 32"
    )
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds")
    parser.add_argument(
        "--pq", nargs="*", metavar="KEY=VALUE", help="PQ on test sets; overrides of conf/evaluate.yaml: data=scenes"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with exit_on_user_error():
        is_random = options.network == RANDOM
        drawn = [drawn_batch((options.size, options.size), seed).images[0] for seed in range(options.count)]
        images = image_source(options.images).paths[: options.count] if options.images else drawn
        trained = random_network() if is_random else open_model(options.network, device="cpu")
        networks = {"fp32": trained, "int8": with_int8(trained)}
        predictors = {key: Predictor(network) for key, network in networks.items()}
        for line in report_cost(predictors, images, options.rounds):
            print(line, flush=True)
        if not is_random:
            print(*report_masks(*predictors.values(), images), report_batch(predictors, drawn[:8]), sep="\n")
        for key, network in networks.items() if options.pq is not None else ():
            found = scores(network, options.pq)
            print(f"{key}: " + ", ".join(f"PQ {domain} {values['PQ']:.2f}" for domain, values in found.items()))
    print(f"torch {torch.__version__}")


if __name__ == "__main__":
    main()
