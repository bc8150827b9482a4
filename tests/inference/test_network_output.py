"""Sources of CLIP embeddings: which networks have them, and how many passes of CLIP they cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

import opsnet
from opsnet.clip.pooling import AttentionPooling
from opsnet.inference.network_output import CLIP_SOURCES, NetworkOutput, check_sources, require_finite, run_network
from opsnet.inference.settings import OTHER_SOURCES
from opsnet.inference.trained_model import TrainedModel
from opsnet.structures import SIZE_DIVISOR, Batch, ImageLabels, Proposals
from opsnet.utils.errors import InputError

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "published_models" / "fcclip_small"
needs_published = pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"the published models are not at {PUBLISHED}")


def published(kind: str) -> TrainedModel:
    folder = PUBLISHED / kind
    return opsnet.load(folder / "model_final.pth", clip=folder / "open_clip_config.json", device="cpu").trained


@contextmanager
def outputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collects what a module returns."""
    found: list[Tensor] = []
    hook = module.register_forward_hook(lambda module, inputs, out: found.append(out))
    yield found
    hook.remove()


def noise(*sizes: tuple[int, int]) -> Batch:
    """Images of noise of these sizes in pixels, padded to a common one."""
    height, width = (-(-max(side) // SIZE_DIVISOR) * SIZE_DIVISOR for side in zip(*sizes, strict=True))
    images = torch.zeros(len(sizes), 3, height, width)
    for k, (h, w) in enumerate(sizes):
        images[k, :, :h, :w] = torch.rand(3, h, w, generator=torch.Generator().manual_seed(k))
    return Batch(images, list(sizes), list(range(len(sizes))), "scenes", ImageLabels([]))


def test_every_source_has_a_setting() -> None:
    assert {"pooling", *OTHER_SOURCES} == set(CLIP_SOURCES)


def test_masked_attention_takes_one_more_pass_where_the_network_pools_otherwise(lenient_model) -> None:
    model, batch = lenient_model.model, noise((60, 64), (64, 40))
    visual = model.clip.image_encoder.visual
    with outputs_of(visual.layer3) as trunk, outputs_of(visual.conv1) as passes:
        output = run_network(model, batch, ("pooling", "masked_attention"))
    assert len(passes) == len(trunk) == 2
    expected = AttentionPooling(visual).pool(trunk[0], output.proposals.mask_logits)
    torch.testing.assert_close(output.clip["masked_attention"], expected)
    assert expected.shape == output.clip["pooling"].shape
    assert not torch.allclose(expected, output.clip["pooling"], atol=1e-3)
    with outputs_of(visual.conv1) as passes:
        run_network(model, batch, ("pooling",))
    assert len(passes) == 1


@needs_published
def test_masked_attention_is_the_pooling_of_fcclips_resnets_and_takes_no_further_pass() -> None:
    model = published("rn50").model
    with outputs_of(model.clip.image_encoder.visual.conv1) as passes:
        output = run_network(model, noise((64, 96)), ("pooling", "masked_attention"))
    assert len(passes) == 1
    assert torch.equal(output.clip["masked_attention"], output.clip["pooling"])
    assert output.clip["pooling"].any()


@needs_published
def test_a_convnext_has_no_attention_pool() -> None:
    model = published("convnext").model
    check_sources(model, ("pooling", "masking", "cropping"))
    with pytest.raises(InputError, match="masked_attention/... needs the attention pool of a CLIP ResNet, and this"):
        check_sources(model, ("pooling", "masked_attention"))


def test_a_clip_without_an_attention_pool_is_refused_before_the_first_image() -> None:
    model = SimpleNamespace(clip=SimpleNamespace(image_encoder=SimpleNamespace(visual=nn.Identity())))
    check_sources(model, ("pooling",))
    with pytest.raises(InputError, match=r"leave it out of `settings`, or of table=5 by row=\[1,2,3\]"):
        check_sources(model, ("masked_attention",))


@pytest.mark.parametrize("place", ["mask_logits", "query_embeds", "iou", "clip"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_an_output_that_is_not_finite_is_an_error(place: str, value: float) -> None:
    tensors = {"mask_logits": torch.randn(1, 3, 4, 4), "query_embeds": torch.randn(1, 3, 6), "iou": torch.rand(1, 3)}
    clip = torch.randn(1, 3, 6)
    output = NetworkOutput(Proposals(**tensors), {"pooling": clip}, (16, 16), ((16, 16),), ((16, 16),), ("a.png",))
    assert require_finite(output) is output
    {**tensors, "clip": clip}[place].view(-1)[-1] = value
    with pytest.raises(InputError, match=r"output for image a\.png contains NaN or infinity"):
        require_finite(output)


def test_a_network_that_turns_to_nan_is_told_by_image(lenient_model) -> None:
    model, batch = lenient_model.model, noise((32, 32))
    batch.images[0, 0, 3, 3] = torch.nan
    with pytest.raises(InputError, match=r"output for image 0 contains NaN or infinity: its weights"):
        run_network(model, batch)
