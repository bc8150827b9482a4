"""Text banks from a CLIP whose text tower is a table: token t has row t."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opsnet.clip.text_encoder import TextEncoder, prompt_templates
from opsnet.errors import InputError
from opsnet.vocabulary import Concept, Vocabulary

WORDS = ["cat", "dog", "grass", "a cat", "a dog", "a grass"]
PETS = Vocabulary("pets", (Concept(7, "cat", True), Concept(3, "grass", False), Concept(5, "dog", True)))


class TableClip(nn.Module):
    """Counts its passes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Parameter(torch.randn(len(WORDS), 4) * torch.arange(1.0, 7)[:, None])  # lengths differ
        self.passes: list[int] = []

    def encode_text(self, tokens: Tensor) -> Tensor:
        self.passes.append(len(tokens))
        return self.table[tokens[:, 0]]


def tokenizer(texts: list[str]) -> Tensor:
    return torch.tensor([[WORDS.index(text)] for text in texts])


def make_encoder(*templates: str, **options) -> TextEncoder:
    return TextEncoder(clip=TableClip(), tokenizer=tokenizer, templates=templates or ("{}",), **options)


def test_one_template_gives_the_normalised_rows_in_order() -> None:
    encoder = make_encoder()
    bank = encoder(PETS)
    torch.testing.assert_close(bank.embeds, F.normalize(encoder.clip.table[[0, 2, 1]].detach(), dim=-1))
    assert bank.name == "pets"
    assert bank.names == ("cat", "grass", "dog")
    assert bank.is_thing.tolist() == [True, False, True]


def test_templates_are_normalised_then_averaged_then_normalised() -> None:
    encoder = make_encoder("{}", "a {}")
    rows = F.normalize(encoder.clip.table.detach(), dim=-1)
    expected = torch.stack([(rows[i] + rows[i + 3]) / 2 for i in (0, 2, 1)])
    torch.testing.assert_close(encoder(PETS).embeds, expected / expected.norm(dim=-1, keepdim=True))


def test_embeddings_have_length_one() -> None:
    torch.testing.assert_close(make_encoder("{}", "a {}")(PETS).embeds.norm(dim=-1), torch.ones(3))


def test_a_name_is_the_same_in_every_vocabulary() -> None:
    encoder = make_encoder("{}", "a {}")
    other = Vocabulary("other", (Concept(1, "dog", True), Concept(2, "cat", True)))
    similarity = encoder(other).embeds @ encoder(PETS).embeds.T
    torch.testing.assert_close(similarity[[0, 1], [2, 0]], torch.ones(2))
    assert torch.equal(encoder(other).embeds[0], encoder(PETS).embeds[2])


@pytest.mark.parametrize(("chunk", "passes"), [(1, [1] * 6), (4, [4, 2]), (256, [6])])
def test_chunks_change_nothing_but_the_passes(chunk: int, passes: list[int]) -> None:
    encoder = make_encoder("{}", "a {}", chunk=chunk)
    torch.testing.assert_close(encoder(PETS).embeds, make_encoder("{}", "a {}")(PETS).embeds)
    assert encoder.clip.passes == passes


def test_a_vocabulary_is_encoded_once() -> None:
    encoder = make_encoder()
    first = encoder(PETS)
    assert encoder(Vocabulary("pets", PETS.concepts)) is first
    assert encoder.clip.passes == [3]
    # The name alone is no key: a comma list is always called "custom".
    assert encoder(Vocabulary("pets", PETS.concepts[:1])).names == ("cat",)


def test_no_gradient_reaches_clip() -> None:
    assert not make_encoder()(PETS).embeds.requires_grad


def test_a_bank_made_in_inference_mode_serves_in_training() -> None:
    with torch.inference_mode():
        bank = make_encoder()(PETS)
    query = torch.randn(2, 4, requires_grad=True)
    (F.normalize(query, dim=-1) @ F.normalize(bank.embeds, dim=-1).T).sum().backward()
    assert query.grad is not None


@pytest.mark.parametrize("templates", [[], ["a photo"], ["{}", "a photo of a"]])
def test_templates_need_a_place_for_the_name(templates: list[str]) -> None:
    with pytest.raises(InputError, match=r"clip.templates must be texts that hold {} for the name"):
        TextEncoder(clip=TableClip(), tokenizer=tokenizer, templates=templates)


def test_open_clips_own_tower_runs_on_no_more_positions_than_the_longest_prompt() -> None:
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
    from open_clip.tokenizer import SimpleTokenizer

    torch.manual_seed(0)
    text = CLIPTextCfg(context_length=20, width=32, heads=2, layers=2)
    clip = CLIP(8, CLIPVisionCfg(layers=1, width=32, head_width=16, image_size=32, patch_size=16), text).eval()
    lengths: list[int] = []
    clip.transformer.register_forward_hook(lambda module, inputs, output: lengths.append(inputs[0].shape[1]))
    tokenizer = SimpleTokenizer(context_length=20)
    words = Vocabulary.load("cat, grass, big red dog")
    bank = TextEncoder(clip=clip, tokenizer=tokenizer, templates=["{}"])(words)
    assert lengths == [5]  # start, three words, end
    with torch.no_grad():
        whole = clip.encode_text(tokenizer(list(words.names)), normalize=True)
    assert lengths[1:] == [20]
    torch.testing.assert_close(bank.embeds, whole, rtol=1e-5, atol=1e-6)
    assert (whole[0] - whole[1]).norm() > 0.1


def test_synonyms_have_rows_of_their_own() -> None:
    vocabulary = Vocabulary("pets", (Concept(1, "cat", True, ("dog",)), Concept(2, "grass", False)))
    encoder = make_encoder()
    bank = encoder(vocabulary)
    torch.testing.assert_close(bank.embeds, F.normalize(encoder.clip.table[:3].detach(), dim=-1))
    assert bank.concept is not None
    assert bank.concept.tolist() == [0, 0, 1]
    assert bank.names == ("cat", "grass")
    first_names = make_encoder(synonyms=False)(vocabulary)
    assert first_names.concept is None
    assert torch.equal(first_names.embeds, bank.embeds[[0, 2]])


def test_lists_of_templates_have_names() -> None:
    many, few = prompt_templates("imagenet80"), prompt_templates("imagenet7")
    assert (len(many), len(few)) == (80, 7)
    assert "a bad photo of a {}." in many
    assert "itap of a {}." in few


def test_templates_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "templates.txt"
    path.write_bytes("\ufeffa photo of a {}.\r\n\r\nthe {} 🎈\r\n".encode())
    assert prompt_templates(str(path)) == ("a photo of a {}.", "the {} 🎈")
    with pytest.raises(InputError, match="nowhere.txt: neither imagenet80 nor imagenet7 nor a file"):
        prompt_templates("nowhere.txt")


def test_a_name_may_hold_braces() -> None:
    texts: list[str] = []

    def record(prompts: list[str]) -> Tensor:
        texts.extend(prompts)
        return torch.zeros(len(prompts), 1, dtype=torch.int64)

    TextEncoder(clip=TableClip(), tokenizer=record, templates=["a {}"])(Vocabulary.from_names(["{0} {x", "{}"]))
    assert texts == ["a {0} {x", "a {}"]
