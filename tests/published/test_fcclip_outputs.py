"""Our FC-CLIP against the publisher's own outputs on small models (skips where the published models are absent).

The stored outputs were computed with pixel mean and standard deviation rounded to fp16 (122.75 for 122.7709, ...), as a
model has them after ``half().float()``: with the rounded numbers FC-CLIP's code gives the stored CLIP maps bit by bit,
with the unrounded ones it misses them by 6e-4 (ConvNeXt). The loader's own numbers are the unrounded ones; here they
are rounded like the publisher's.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from opsnet.inference.names import NameCache
from opsnet.inference.network_output import POOLING, run_network
from opsnet.inference.segment import segment
from opsnet.inference.trained_model import TrainedModel
from opsnet.panoptic.merge import upsample_masks
from opsnet.prediction.images import to_batch
from opsnet.published.loading import load_published_model
from opsnet.recognition.modulation import QueryOnly
from opsnet.structures import PanopticMap
from opsnet.vocabulary import Concept, Vocabulary

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "published_models" / "fcclip_small"
TOP = 100
"""Pairs of query and class among which FC-CLIP looks for instances."""
TOLERANCES = {("rn50", "pred_masks"): 2e-4, ("rn50", "sem_seg"): 3e-4}
"""1e-4 for all others. These two cannot be met more closely in fp32: mask logits reach 40 and semantic scores 16, and
the stored values are 9.8e-5 and 1.8e-4 off what FC-CLIP's own code computes in fp64. Ours differ from the stored ones
by 1.1e-4 and 1.7e-4."""

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the published models are not at {FOLDER}")


class Case:
    """One published model: what FC-CLIP computed for its image, and what we compute."""

    def __init__(self, kind: str) -> None:
        folder = FOLDER / kind
        self.kind = kind
        self.about: dict[str, Any] = json.loads((folder / "about.json").read_text())
        self.expected = {name: torch.from_numpy(array) for name, array in np.load(folder / "expected.npz").items()}
        train = vocabulary(self.about["train_names"])
        test = vocabulary(self.about["test_names"], self.about["test_things"])
        self.loaded = load_published_model(
            folder / "model_final.pth", clip=folder / "open_clip_config.json", train_vocabulary=train, device="cpu"
        )
        encoder = self.loaded.model.clip.image_encoder
        self.constants = (encoder.mean * 255, encoder.std * 255)
        for buffer in (encoder.mean, encoder.std):
            buffer.copy_((buffer * 255).half().float() / 255)
        image = np.array(Image.open(folder / "image.png").convert("RGB"))
        self.ours, self.panoptic = compute(self.loaded, NameCache(self.loaded.model, train), test, image, self.about)


def vocabulary(rows: list[str], things: Collection[int] = ()) -> Vocabulary:
    names = [row.split(",") for row in rows]
    return Vocabulary("names", tuple(Concept(i, n[0], i in things, tuple(n[1:])) for i, n in enumerate(names)))


@torch.no_grad()
def compute(
    loaded: TrainedModel, cache: NameCache, test: Vocabulary, image: np.ndarray, about: dict[str, Any]
) -> tuple[dict[str, Tensor], PanopticMap]:
    """Our tensors by the publisher's names, and our panoptic map."""
    model, names, batch = loaded.model, cache.prepared(test), to_batch([image])
    output = run_network(model, batch)
    embeddings, no_object = output.embeddings(), model.no_object_embed
    query, query_no_object = QueryOnly()(embeddings, names, no_object)
    assert loaded.recognizer is not None
    logits, none = loaded.recognizer(embeddings, names, no_object)
    filtering = loaded.inference.mask_filtering
    things = names.target.is_thing.tolist()
    panoptic = segment(output, logits, none, things, filtering=filtering, overlap=about["overlap_threshold"])[0]
    rows = torch.cat((logits, none[..., None]), dim=-1)[0]
    masks = upsample_masks(output.proposals.mask_logits[0], output.padded, output.valid_sizes[0], output.map_sizes[0])
    probabilities = rows.softmax(-1)[:, :-1]
    scores, classes = instances(probabilities, masks, names.target.is_thing)
    return {
        "text_classifier": torch.cat((names.target.embeds, F.normalize(no_object[None], dim=-1))),
        "clip_vis_dense": model(batch.images, batch.valid_sizes)[1],
        "pred_logits": torch.cat((query, query_no_object[..., None]), dim=-1),
        "pred_masks": output.proposals.mask_logits,
        "pooled_clip": output.clip[POOLING],
        "final_logits": (rows.exp() + 1e-8).log(),  # FC-CLIP adds 1e-8 to the probabilities before its logarithm
        "panoptic_seg": panoptic.ids,
        "sem_seg": torch.einsum("kc, khw -> chw", probabilities, masks),
        "instance_scores": scores,
        "instance_classes": classes,
    }, panoptic


def instances(probabilities: Tensor, masks: Tensor, is_thing: Tensor) -> tuple[Tensor, Tensor]:
    """FC-CLIP's instances: class probability times the mean probability inside the mask, things of the best pairs."""
    best = probabilities.flatten().topk(TOP)
    queries, classes = best.indices // probabilities.shape[1], best.indices % probabilities.shape[1]
    inside = masks > 0.5
    certainty = (masks * inside).sum((-2, -1)) / (inside.sum((-2, -1)) + 1e-6)
    keep = is_thing[classes]
    return (best.values * certainty[queries])[keep], classes[keep]


def by_class(scores: Tensor, classes: Tensor) -> Tensor:
    """Scores ordered by class, then by score: FC-CLIP does not order its instances."""
    return scores[np.lexsort((scores.numpy(), classes.numpy())).copy()]


@pytest.fixture(scope="module", params=["convnext", "rn50"])
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_every_stored_tensor_is_compared(case: Case) -> None:
    assert set(case.ours) == set(case.expected)


@pytest.mark.parametrize(
    "name",
    ["text_classifier", "clip_vis_dense", "pred_logits", "pred_masks", "pooled_clip", "final_logits", "sem_seg"],
)
def test_tensor_is_the_publishers(case: Case, name: str) -> None:
    tolerance = TOLERANCES.get((case.kind, name), 1e-4)
    torch.testing.assert_close(case.ours[name], case.expected[name], rtol=0, atol=tolerance)


def test_instances_are_the_publishers(case: Case) -> None:
    ours, theirs = case.ours, case.expected
    assert ours["instance_classes"].sort().values.tolist() == theirs["instance_classes"].sort().values.tolist()
    scores = (by_class(tensors["instance_scores"], tensors["instance_classes"]) for tensors in (ours, theirs))
    torch.testing.assert_close(*scores, rtol=0, atol=1e-4)


def test_panoptic_map_is_the_publishers(case: Case) -> None:
    assert (case.ours["panoptic_seg"] == case.expected["panoptic_seg"]).all()
    ours = [{"id": s.id, "isthing": s.is_thing, "category_id": s.label} for s in case.panoptic.segments]
    assert ours == case.about["segments"]


def test_the_loader_normalises_with_the_publishers_unrounded_numbers(case: Case) -> None:
    for ours, key in zip(case.constants, ("pixel_mean", "pixel_std"), strict=True):
        assert ours.flatten().tolist() == pytest.approx(case.about[key], abs=1e-5)
