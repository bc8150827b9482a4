"""Text banks from a CLIP whose text tower is a table: token t has row t."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from open_clip.tokenizer import SimpleTokenizer
from openai_clip import CONTEXT, small_clip
from torch import Tensor, nn

from opsnet.clip.text_encoder import TextEncoder
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


@pytest.fixture(scope="module")
def clip() -> nn.Module:
    return small_clip()


def test_open_clips_own_tower_runs_on_no_more_positions_than_the_longest_prompt(clip: nn.Module) -> None:
    lengths: list[int] = []
    hook = clip.transformer.register_forward_hook(lambda module, inputs, _: lengths.append(inputs[0].shape[1]))
    tokenizer = SimpleTokenizer(context_length=CONTEXT)
    words = Vocabulary.load("cat, grass, big red dog")
    bank = TextEncoder(clip=clip, tokenizer=tokenizer, templates=["{}"])(words)
    assert lengths == [5]  # start, three words, end
    with torch.no_grad():
        whole = clip.encode_text(tokenizer(list(words.names)), normalize=True)
    hook.remove()
    assert lengths[1:] == [CONTEXT]
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


def test_a_name_may_hold_braces() -> None:
    texts: list[str] = []

    def record(prompts: list[str]) -> Tensor:
        texts.extend(prompts)
        return torch.zeros(len(prompts), 1, dtype=torch.int64)

    TextEncoder(clip=TableClip(), tokenizer=record, templates=["a {}"])(Vocabulary.from_names(["{0} {x", "{}"]))
    assert texts == ["a {0} {x", "a {}"]


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_autocast_around_it_changes_nothing(
    clip: nn.Module, cached: bool, precision: torch.dtype, tmp_path: Path
) -> None:
    words = Vocabulary.load("cat, grass, big red dog")

    def embeds(folder: str) -> Tensor:
        cache = tmp_path / folder if cached else None
        tokenizer = SimpleTokenizer(context_length=CONTEXT)
        return TextEncoder(clip=clip, tokenizer=tokenizer, templates=["{}", "a {}"], cache=cache)(words).embeds

    plain = embeds("plain")
    with torch.autocast("cpu", precision):
        under = embeds("autocast")
        assert torch.equal(embeds("plain"), plain)  # what was written outside is read inside
    assert under.dtype == torch.float32
    assert torch.equal(under, plain)
    assert torch.equal(embeds("autocast"), plain)


def test_a_name_has_one_embedding_in_all_banks_in_memory(clip: nn.Module, tmp_path: Path) -> None:
    """Bit for bit: alone, among names that lengthen the prompts, twice in a vocabulary, and from another cache."""
    other = Vocabulary("twice", (Concept(1, "big red dog", True, ("cat",)), Concept(2, "cat", False)))
    encoder = TextEncoder(
        clip=clip, tokenizer=SimpleTokenizer(context_length=CONTEXT), templates=["{}", "a {}"], cache=tmp_path
    )
    alone = encoder(Vocabulary.load("cat")).embeds[0]
    encoder.cache = None
    among = encoder(other).embeds
    assert torch.equal(among[1], alone)
    assert torch.equal(among[2], alone)
    assert not torch.equal(among[0], alone)
    later = encoder(Vocabulary.load("a much longer name of a thing, big red dog")).embeds
    assert torch.equal(later[1], among[0])


def test_another_activation_or_precision_is_another_file_of_the_cache(tmp_path: Path) -> None:
    def embeds(**options) -> Tensor:
        clip = small_clip(quick_gelu=options.pop("quick_gelu", True)).to(options.pop("dtype", torch.float32))
        tokenizer = SimpleTokenizer(context_length=CONTEXT)
        encoder = TextEncoder(clip=clip, tokenizer=tokenizer, templates=["{}"], cache=options.get("cache"))
        return encoder(Vocabulary.load("cat, grass")).embeds

    for options in ({}, {"quick_gelu": False}, {"dtype": torch.bfloat16}):
        computed = embeds(**options)
        for _ in ("computed and stored", "read"):  # not rounded: published figures are met within 1e-4
            assert torch.equal(embeds(cache=tmp_path, **options), computed)
    assert (embeds() - embeds(quick_gelu=False)).abs().max() > 5e-3
    assert len(list(tmp_path.iterdir())) == 3
