"""Networks with a shared CLIP trunk, FC-CLIP's and OPSNet's, as exported files: their outputs are the network's."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from open_clip.tokenizer import SimpleTokenizer

from opsnet.clip.frozen_clip import FrozenClip
from opsnet.clip.loading import custom_clip
from opsnet.clip.shared_backbone import SharedClipBackbone
from opsnet.exporting.network import ExportNetwork, trace, write_graph
from opsnet.exporting.parity import Outputs, runner
from opsnet.exporting.run import export
from opsnet.model import OPSNet
from opsnet.recognition.geometric_ensemble import GeometricEnsemble
from opsnet.recognition.modulation import EmbeddingModulation
from opsnet.segmenter.pixel_decoder import PixelDecoder
from opsnet.segmenter.query_decoder import QueryDecoder
from opsnet.structures import TextBank

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data" / "published_models" / "fcclip_small"
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1}
CONVNEXT = {"timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "mlp", "image_size": 64}
RESNET = {"layers": [1, 1, 1, 1], "width": 8, "head_width": 16, "image_size": 64}
FCCLIP = {"clip_attention": None, "embed_head": "mask_pooled", "iou_head": False}
KINDS = {
    "convnext": (CONVNEXT, None, FCCLIP, GeometricEnsemble(seen_by="text")),
    "resnet": (RESNET, "attention", FCCLIP, GeometricEnsemble(seen_by="text", clip_trust=0.5)),
    "shared": (RESNET, None, {}, EmbeddingModulation()),
}


def network(kind: str) -> ExportNetwork:
    vision, pooling, heads, recognizer = KINDS[kind]
    torch.manual_seed(0)
    model = custom_clip(config={"embed_dim": 32, "vision_cfg": vision, "text_cfg": TEXT})
    clip = FrozenClip(model=model, tokenizer=SimpleTokenizer(), templates=["{}"], pooling=pooling)
    sizes = {"dim": 16, "heads": 2, "layers": 1, "hidden": 16, "mask_dim": 16}
    opsnet = OPSNet(
        backbone=SharedClipBackbone(), clip=clip, learn_logit_scale=heads is FCCLIP,
        pixel_decoder=partial(PixelDecoder, points=2, **sizes),
        query_decoder=partial(QueryDecoder, queries=6, **sizes, **heads),
    )  # fmt: skip
    train = TextBank("train", ("a", "b", "c"), torch.ones(3).bool(), F.normalize(torch.randn(3, 32), dim=1))
    return ExportNetwork(opsnet.eval(), train, recognizer)


def inputs(images: int, height: int, width: int, names: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(height + names)
    image = torch.rand(images, 3, height, width, generator=generator)
    text = F.normalize(torch.randn(names, 32, generator=generator), dim=1)
    return image, torch.tensor([[height, width]] * images), text, torch.arange(names)


def assert_same(ours: Outputs, theirs: Outputs) -> None:
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-3)  # of logits


@pytest.mark.parametrize(("kind", "suffix"), [
    ("convnext", "pt2"), ("resnet", "pt2"), pytest.param("shared", "pt2", marks=pytest.mark.slow),
    *(pytest.param(kind, "onnx", marks=pytest.mark.slow) for kind in ("resnet", "convnext", "shared")),
])  # fmt: skip
def test_the_file_has_the_outputs_of_the_network_at_any_size(kind: str, suffix: str, tmp_path: Path) -> None:
    ours, path = network(kind), tmp_path / f"a.{suffix}"
    program = trace(ours, None, None)
    stored = list(program.state_dict)
    assert not any("text_encoder" in name for name in stored)
    assert any("attnpool" in name or "pooling.attention" in name for name in stored) == (kind == "resnet")
    assert ours.model.clip.text_encoder is not None  # tracing puts back what it takes away
    write_graph(program, path, suffix, "{}")
    theirs = runner(path)
    for images, height, width, names in ((1, 64, 64, 1), (3, 96, 160, 5), (2, 224, 64, 3)):
        image, size, text, concept = inputs(images, height, width, names)
        bank = TextBank("t", tuple("abcde"[:names]), torch.ones(names).bool(), text, concept)
        with torch.no_grad():
            expected = ours(image, size, text, concept)
        assert_same(expected, theirs(image, size, bank))


@pytest.mark.slow
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"the published models are not at {PUBLISHED}")
# All masks of the ResNet agree within 4.3e-5, but one proposal's score differs by 7.1e-4. Not traced; most likely a
# mask logit of nearly 0 is on the other side in the graph, and its pooling inside binary masks of few cells changes.
@pytest.mark.parametrize(("kind", "tolerance"), [("convnext", 1e-4), ("rn50", 1e-3)])
def test_published_weights_export(kind: str, tolerance: float, compose: Any, tmp_path: Path) -> None:
    folder, output = PUBLISHED / kind, tmp_path / "a.pt2"
    given = [f"checkpoint={folder / 'model_final.pth'}", f"clip_model={folder / 'open_clip_config.json'}"]
    found = export(compose("export", *given, "format=pt2", f"output={output}", "filtering.threshold=0",
                           f"tolerance={tolerance}"))  # fmt: skip
    assert found.runs == 15
    assert found.mask <= 1e-4
    assert found.score <= tolerance
    assert output.is_file()
