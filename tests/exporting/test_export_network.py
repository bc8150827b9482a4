"""The network as a function of tensors: the same outputs as the network, and what cannot be traced."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from hydra.utils import instantiate

from opsnet.exporting.network import ExportError, ExportNetwork, _OpenBank, trace
from opsnet.recognition.geometric_ensemble import GeometricEnsemble
from opsnet.recognition.modulation import ClipOnly, EmbeddingModulation, FixedEnsemble, QueryOnly
from opsnet.structures import TextBank
from opsnet.vocabulary import Concept, Vocabulary

SYNONYMS = Vocabulary(
    "mine",
    (Concept(1, "sea", False, ("blue waves", "water")), Concept(2, "red circle", True), Concept(3, "tree", True)),
)


@pytest.fixture(scope="module")
def model(compose):
    torch.manual_seed(0)
    cfg = compose("train", "clip.model.weights=random", "model.query_decoder.queries=6", "output=nowhere")
    return instantiate(cfg.model, backbone=cfg.backbone, clip=cfg.clip).eval()


def test_a_bank_with_dynamic_rows_has_unused_slots() -> None:
    bank = _OpenBank("a", (), torch.zeros(0), torch.zeros(4, 2), torch.tensor([0, 0, 1, 1]))
    values = bank.max_per_concept(torch.tensor([[1.0, 3.0, 2.0, -1.0]]))
    assert values.tolist() == [[3, 2, -math.inf, -math.inf]]
    assert bank.mean(torch.tensor([3.0, 2.0, 0.5, 0.5])) == 2.5  # the values in unused slots are ignored


@pytest.mark.parametrize(
    "modulation",
    [EmbeddingModulation(), QueryOnly(), ClipOnly(), FixedEnsemble(clip_weight=2.0), GeometricEnsemble()],
    ids=lambda m: type(m).__name__,
)
def test_synonyms_are_rows_of_one_concept(model, modulation) -> None:
    encode = model.clip.text_encoder
    target = encode(SYNONYMS)
    network = ExportNetwork(model, encode(Vocabulary.load("scenes")), modulation)
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        size = torch.tensor([[64, 96], [50, 70]])
        masks, logits, no_object, iou = network(image, size, target.embeds, target.concept_of_row())
        expected = network.forward_bank(image, size, target)
    assert logits.shape == (2, 6, 5)
    assert (logits[..., 3:] == -math.inf).all()
    for ours, theirs in zip((masks, logits[..., :3], no_object, iou), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("sides", [{"height": 100, "width": 64}, {"height": None, "width": 0}])
def test_a_side_that_is_not_a_multiple_of_32(sides) -> None:
    with pytest.raises(ExportError, match="must be a multiple of 32 pixels"):
        trace(SimpleNamespace(), **sides)  # type: ignore[arg-type]


def test_a_swin_with_a_dynamic_side() -> None:
    from opsnet.segmenter.swin import _AnySizeBlock

    backbone = torch.nn.Sequential(_AnySizeBlock(8, (4, 4), num_heads=1, window_size=2))
    network = SimpleNamespace(model=SimpleNamespace(backbone=backbone))
    with pytest.raises(ExportError, match="give height=PIXELS width=PIXELS"):
        trace(network, 64, None)  # type: ignore[arg-type]


def test_clip_runs_in_fp32(model) -> None:
    model.clip.image_encoder.precision = "bf16"
    bank = TextBank("a", ("b",), torch.tensor([True]), torch.zeros(1, model.clip.embed_dim))
    ExportNetwork(model, bank, QueryOnly())
    assert model.clip.image_encoder.precision is None
