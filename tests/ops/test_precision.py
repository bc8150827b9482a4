"""What stays in fp32 under autocast: cosine logits, and the pixel decoder unless its precision follows the trainer."""

from __future__ import annotations

import pytest
import torch

from opsnet.ops.precision import full_precision
from opsnet.recognition.modulation import FixedEnsemble, QueryOnly
from opsnet.recognition.recognizer import cosine_logits, prepare
from opsnet.segmenter.pixel_decoder import PixelDecoder
from opsnet.structures import Embeddings, TextBank


def test_autocast_is_disabled_inside_and_not_touched_if_it_is_off() -> None:
    x = torch.rand(4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        with full_precision(x):
            assert (x @ x).dtype == torch.float32
    with full_precision(x):
        assert (x @ x).dtype == torch.float32


def test_a_device_without_autocast_needs_no_switch() -> None:
    with full_precision(torch.rand(2, device="meta")) as nothing:  # on which the model card counts operations
        assert nothing is None


def test_cosine_logits_are_those_of_fp32_under_autocast() -> None:
    embeds, text = torch.randn(2, 5, 64), torch.randn(7, 64)
    expected = cosine_logits(embeds, text)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(cosine_logits(embeds, text), expected)
        assert cosine_logits(embeds.bfloat16(), text).dtype == torch.float32


@pytest.mark.parametrize("recognizer", [QueryOnly(), FixedEnsemble(clip_weight=2.0)])
def test_recognition_of_half_precision_embeddings_is_in_fp32(recognizer) -> None:
    embeddings = Embeddings(torch.randn(1, 5, 64).bfloat16(), torch.randn(1, 5, 64).bfloat16())
    wide = Embeddings(embeddings.query.float(), embeddings.clip.float())
    bank = TextBank("a", ("b", "c"), torch.tensor([True, False]), torch.nn.functional.normalize(torch.randn(2, 64)))
    expected = recognizer(wide, prepare(bank, bank), torch.ones(64))
    with torch.autocast("cpu", torch.bfloat16):
        found = recognizer(embeddings, prepare(bank, bank), torch.ones(64))
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), (None, torch.bfloat16)])
def test_the_pixel_decoder_under_autocast(precision, dtype) -> None:
    torch.manual_seed(0)
    options = {"dim": 16, "mask_dim": 8, "encoder_levels": 2, "layers": 1, "heads": 2, "hidden": 16}
    decoder = PixelDecoder(in_channels=(4, 8, 8), precision=precision, **options)
    maps = [torch.rand(1, c, s, s).bfloat16() for c, s in ((4, 16), (8, 8), (8, 4))]
    with torch.no_grad():
        expected = decoder([m.float() for m in maps])
        with torch.autocast("cpu", torch.bfloat16):
            found = decoder(maps)
    assert found.pixels.dtype == dtype
    assert torch.equal(found.pixels, expected.pixels) == (precision == "fp32")


def test_an_unknown_precision() -> None:
    with pytest.raises(ValueError, match="precision must be fp32 or null"):
        PixelDecoder(in_channels=(4, 8), encoder_levels=1, dim=8, heads=2, precision="fp16")
