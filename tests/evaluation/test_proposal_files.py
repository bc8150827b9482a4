"""Files of proposals are lossless, and damaged ones are refused with their path."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from opsnet.evaluation import proposal_files
from opsnet.evaluation.proposal_files import ProposalsError, read_names, read_outputs, write_names, write_outputs
from opsnet.inference.names import DomainNames
from opsnet.inference.network_output import NetworkOutput
from opsnet.recognition.recognizer import prepare
from opsnet.structures import Proposals, TextBank


def outputs(seed: int = 0) -> NetworkOutput:
    generator = torch.Generator().manual_seed(seed)

    def rand(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator)

    proposals = Proposals(rand(2, 3, 4, 5), rand(2, 3, 6), rand(2, 3).sigmoid())
    clip = {"pooling": rand(2, 3, 6).bfloat16()}
    return NetworkOutput(proposals, clip, (16, 20), ((16, 20), (15, 20)), ((16, 20), (30, 40)), (7, "b"))


def test_a_batch_is_read_back_losslessly(tmp_path: Path) -> None:
    before = outputs()
    write_outputs(tmp_path / "0.safetensors", before, "exact")
    after = read_outputs(tmp_path / "0.safetensors")
    for name in ("mask_logits", "query_embeds", "iou"):
        assert torch.equal(getattr(after.proposals, name), getattr(before.proposals, name))
    assert after.clip["pooling"].dtype == torch.bfloat16
    assert torch.equal(after.clip["pooling"], before.clip["pooling"])
    for name in ("padded", "valid_sizes", "map_sizes", "image_ids"):
        assert getattr(after, name) == getattr(before, name)


def test_names_are_read_back_losslessly(tmp_path: Path) -> None:
    rows = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    target = TextBank("target", ("cat", "dog"), torch.tensor([True, False]), rows, torch.tensor([0, 0, 1]))
    train = TextBank("train", ("a", "b", "é"), torch.tensor([True, True, False]), rows)
    write_names(tmp_path / "text.safetensors", DomainNames(prepare(target, train), (True, False), rows[0], 0.6))
    found = read_names(tmp_path / "text.safetensors")
    assert (found.target.name, found.target.names, found.names.train.names) == ("target", target.names, train.names)
    assert torch.equal(found.target.embeds, rows)
    assert found.target.concept is not None
    assert found.target.concept.tolist() == [0, 0, 1]
    assert found.names.train.concept is None
    assert found.names.train.is_thing.tolist() == [True, True, False]
    assert (found.seen, found.overlap) == ((True, False), 0.6)
    assert torch.equal(found.no_object_embed, rows[0])


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "a byte", "missing"])
def test_a_damaged_file_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "000003.safetensors"
    write_outputs(path, outputs(), "exact")
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[:-10])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("no proposals here")
    elif damage == "a byte":
        content[-1] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()
    with pytest.raises(ProposalsError, match=r"000003\.safetensors is truncated or not a file of proposals"):
        read_outputs(path)


def test_a_text_file_is_not_a_batch(tmp_path: Path) -> None:
    bank = TextBank("a", ("cat",), torch.tensor([True]), torch.ones(1, 2))
    write_names(tmp_path / "text.safetensors", DomainNames(prepare(bank, bank), (True,), torch.ones(2), 0.8))
    with pytest.raises(ProposalsError, match=r"text\.safetensors is truncated or not a file of proposals"):
        read_outputs(tmp_path / "text.safetensors")


def test_scales_are_read_back_and_are_100_in_earlier_files(tmp_path: Path) -> None:
    before = dataclasses.replace(outputs(), scales=(14.285714, 63.5))
    write_outputs(tmp_path / "0.safetensors", before, "exact")
    after = read_outputs(tmp_path / "0.safetensors")
    assert after.scales == before.scales
    embeddings = after.embeddings()
    assert (embeddings.query_scale, embeddings.clip_scale) == before.scales
    tensors, more = proposal_files._read(tmp_path / "0.safetensors")
    del more["scales"]
    proposal_files._write(tmp_path / "old.safetensors", tensors, more)
    assert read_outputs(tmp_path / "old.safetensors").scales == (100, 100)


@pytest.mark.parametrize("scales", [None, "many", [1.0], [1.0, 2.0, 3.0]])
def test_damaged_scales_are_refused(scales: object, tmp_path: Path) -> None:
    write_outputs(tmp_path / "0.safetensors", outputs(), "exact")
    tensors, more = proposal_files._read(tmp_path / "0.safetensors")
    proposal_files._write(tmp_path / "0.safetensors", tensors, {**more, "scales": scales})
    with pytest.raises(ProposalsError, match=r"0\.safetensors is truncated or not a file of proposals"):
        read_outputs(tmp_path / "0.safetensors")


def test_which_names_are_the_same_text_is_read_back(tmp_path: Path) -> None:
    """Not the cosine: "dog" has the embedding of a training name and another text, as an alias of it may have."""
    rows = torch.eye(3)
    target = TextBank("target", ("cat", "dog"), torch.tensor([True, True]), rows[[0, 1]])
    train = TextBank("train", ("hound", "sea"), torch.tensor([True, True]), rows[[1, 2]])
    seen = (True, False)
    write_names(tmp_path / "text.safetensors", DomainNames(prepare(target, train, seen), seen, rows[0], 0.6))
    found = read_names(tmp_path / "text.safetensors").names
    assert found.same_text is not None
    assert found.same_text.tolist() == [True, False]
    assert found.seen.tolist() == [False, True]


@pytest.mark.parametrize("place", ["masks", "query_embeds", "iou", "clip"])
def test_proposals_that_are_not_finite_are_refused(place: str, tmp_path: Path) -> None:
    bad = outputs()
    where = bad.proposals.mask_logits if place == "masks" else getattr(bad.proposals, place, bad.clip["pooling"])
    where.view(-1)[-1] = torch.nan
    write_outputs(tmp_path / "0.safetensors", bad, "exact")
    with pytest.raises(ProposalsError, match=r"0\.safetensors is truncated or not .*\(it contains NaN or infinity\)"):
        read_outputs(tmp_path / "0.safetensors")


def test_names_of_another_precision_are_refused(tmp_path: Path) -> None:
    bank = TextBank("a", ("cat",), torch.tensor([True]), torch.ones(1, 2))
    names = DomainNames(prepare(bank, bank), (True,), torch.ones(2).double(), 0.8)
    write_names(tmp_path / "t.safetensors", names)
    with pytest.raises(ProposalsError, match=r"\(embeddings are no 32-bit floating-point numbers\)"):
        read_names(tmp_path / "t.safetensors")


def test_names_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    bank = TextBank("a", ("cat",), torch.tensor([True]), torch.ones(1, 2))
    write_names(
        tmp_path / "t.safetensors", DomainNames(prepare(bank, bank), (True,), torch.tensor([1, torch.inf]), 0.8)
    )
    with pytest.raises(ProposalsError, match=r"\(it contains NaN or infinity\)"):
        read_names(tmp_path / "t.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        {"iou": torch.rand(2, 2)}, {"query_embeds": torch.rand(2, 4, 6)}, {"query_embeds": torch.rand(3)},
        {"clip.pooling": torch.rand(2, 3, 7)}, {"padded": [10**9, 20]}, {"valid_sizes": [[16, 20]]},
        {"image_ids": [7]}, {"image_ids": None}, {"masks": "all"}, {"iou": torch.rand(2, 3).double()},
        {"query_embeds": torch.rand(2, 3, 6).double()}, {"valid_sizes": [[float("inf"), 20]] * 2},
        {"scales": [10**400, 1]},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused(change: dict, tmp_path: Path) -> None:
    write_outputs(tmp_path / "0.safetensors", outputs(), "exact")
    tensors, more = proposal_files._read(tmp_path / "0.safetensors")
    for key, value in change.items():
        (tensors if isinstance(value, Tensor) else more)[key] = value
    proposal_files._write(tmp_path / "0.safetensors", tensors, more)
    with pytest.raises(ProposalsError, match=r"0\.safetensors is truncated or not a file of proposals"):
        read_outputs(tmp_path / "0.safetensors")
