"""The tiny CLIP: open_clip's interface, stride 8, and a text tower that the padding cannot touch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from open_clip.modified_resnet import AttentionPool2d
from open_clip.tokenizer import SimpleTokenizer

from opsnet.clip.image_encoder import ClipImageEncoder
from opsnet.clip.tiny import TinyTextTower, tiny_clip

START, END = 98, 99


def make_tower(**options) -> TinyTextTower:
    torch.manual_seed(0)
    return TinyTextTower(16, width=8, layers=1, heads=2, vocab_size=100, **options).eval()


def tokens(*words: int, length: int = 12) -> torch.Tensor:
    """Start, words, end, padding; as CLIP's tokenizer writes them."""
    return F.pad(torch.tensor([[START, *words, END]]), (0, length - len(words) - 2))


@pytest.fixture(scope="module")
def clip() -> torch.nn.Module:
    torch.manual_seed(0)
    return tiny_clip(embed_dim=24, width=4, text_width=8, text_layers=1, heads=4).eval()


def test_images_and_words_meet_in_one_space(clip: torch.nn.Module) -> None:
    ids = SimpleTokenizer(context_length=12)(["red circle", "an image of a blue square"])
    with torch.no_grad():
        assert clip.encode_image(torch.rand(3, 3, 32, 32)).shape == (3, 24)
        assert clip.encode_text(ids).shape == (2, 24)
    assert clip.logit_scale.exp().item() == pytest.approx(20)


def test_the_image_tower_has_stride_8_and_clips_pool(clip: torch.nn.Module) -> None:
    encoder = ClipImageEncoder(clip=clip, mean=(0, 0, 0), std=(1, 1, 1))
    assert isinstance(clip.visual.attnpool, AttentionPool2d)
    assert encoder(torch.rand(1, 3, 32, 32)).shape == (1, 24, 4, 4)
    assert encoder(torch.rand(1, 3, 96, 64)).shape == (1, 24, 12, 8)
    assert encoder.embed_whole(torch.rand(1, 3, 32, 32)).shape == (1, 24)


def test_padding_does_not_change_an_embedding() -> None:
    tower = make_tower()
    with torch.no_grad():
        short, long = (tower(tokens(5, 6, length=n)) for n in (4, 12))
        torch.testing.assert_close(short, long)
        tower.token_embedding.weight[0] = 100.0  # the row of the padding token
        torch.testing.assert_close(tower(tokens(5, 6)), long)


def test_a_longer_neighbour_in_the_batch_does_not_change_an_embedding() -> None:
    tower = make_tower()
    with torch.no_grad():
        together = tower(torch.cat((tokens(5, 6), tokens(*range(1, 9)))))
        torch.testing.assert_close(together[:1], tower(tokens(5, 6)))


def test_words_and_their_order_matter() -> None:
    tower = make_tower()
    with torch.no_grad():
        assert not torch.allclose(tower(tokens(5, 6)), tower(tokens(5, 7)), atol=1e-3)
        assert not torch.allclose(tower(tokens(5, 6)), tower(tokens(6, 5)), atol=1e-3)


def test_a_text_without_words_stays_finite() -> None:
    with torch.no_grad():
        assert make_tower()(tokens()).isfinite().all()


def test_the_cone_narrows_the_angles_between_names() -> None:
    names = torch.cat([tokens(i, i + 1) for i in range(1, 60, 3)])

    def mean_cosine(cone: float) -> float:
        tower = make_tower(cone=cone)
        with torch.no_grad():
            rows = F.normalize(tower(names), dim=-1)
        return float((rows @ rows.T).fill_diagonal_(0).sum() / (len(rows) * (len(rows) - 1)))

    wide, narrow = mean_cosine(0.0), mean_cosine(1.5)
    assert wide < 0.5
    # Unit vectors around a fixed one of length 1.5, nearly orthogonal to it: 1.5^2 / (1 + 1.5^2) = 0.69 and more.
    assert narrow > 0.65


def test_the_cone_is_saved_and_the_words_are_not_trained() -> None:
    tower = make_tower(cone=1.5)
    assert tower.state_dict()["cone"].norm().item() == pytest.approx(1.5)
    assert not tower.token_embedding.weight.requires_grad
    assert tower.projection.weight.requires_grad
