"""Folders of proposals: complete ones, resumed ones, and those that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from test_proposal_files import outputs

from opsnet.evaluation.proposal_files import ProposalsError, write_outputs
from opsnet.evaluation.store import ProposalWriter, StoredOrigin, open_domain, stored_origin
from opsnet.inference.names import DomainNames
from opsnet.recognition.recognizer import prepare
from opsnet.structures import TextBank
from opsnet.utils.files import fingerprint
from opsnet.vocabulary import Vocabulary

CAT = Vocabulary.from_names(["cat"], name="cats")
BANK = TextBank("cats", ("cat",), torch.tensor([True]), torch.ones(1, 6))


def writer(folder: Path, **changes) -> ProposalWriter:
    """A writer for two batches of two images."""
    names = DomainNames(prepare(BANK, BANK), (True,), torch.ones(6), 0.8)
    given = {
        "names": names, "vocabulary": CAT, "made_by": {"checkpoint": "abc", "experiment": "opsnet_r50"},
        "batches": [2, 2], "sources": ["pooling"], "masks": "exact",
    }  # fmt: skip
    return ProposalWriter(folder, "scenes", **{**given, **changes})


def test_stored_batches_are_read_back(tmp_path: Path) -> None:
    new = writer(tmp_path)
    for index in range(2):
        new.write(index, outputs(index))
    stored = open_domain(tmp_path, "scenes")
    masks = [batch.proposals.mask_logits for batch in stored.batches()]
    assert [torch.equal(m, outputs(i).proposals.mask_logits) for i, m in enumerate(masks)] == [True, True]
    assert stored.names().target.names == ("cat",)
    assert stored.sources == ("pooling",)
    assert stored.bytes() > sum(m.nbytes for m in masks) / 2
    assert stored_origin(tmp_path) == StoredOrigin("opsnet_r50", None, {})  # older folders have no inference settings
    stored.require_vocabulary(CAT)
    with pytest.raises(ProposalsError, match="stored with a vocabulary that differs from the current 'cats'"):
        stored.require_vocabulary(Vocabulary.from_names(["cat", "dog"], name="cats"))


def test_the_error_of_an_incomplete_folder_says_how_to_resume(tmp_path: Path) -> None:
    writer(tmp_path).write(0, outputs())
    with pytest.raises(
        ProposalsError, match=r"scenes is incomplete: 1 of 2 batches are missing; .* same hydra.run.dir"
    ):
        open_domain(tmp_path, "scenes")


def test_a_folder_is_not_continued_with_another_transform(tmp_path: Path) -> None:
    made_by = {"checkpoint": "abc", "experiment": "opsnet_r50", "data": {"annotations": "1", "transform": "2"}}
    writer(tmp_path, made_by=made_by)
    writer(tmp_path, made_by=made_by)
    with pytest.raises(ProposalsError, match="proposals of another checkpoint, data or kind"):
        writer(tmp_path, made_by={**made_by, "data": {"annotations": "1", "transform": "3"}})


def test_a_resumed_run_reuses_stored_batches(tmp_path: Path) -> None:
    writer(tmp_path).write(0, outputs())
    again = writer(tmp_path)
    found = again.load_cached(0, [7, "b"])
    assert found is not None
    assert torch.equal(found.proposals.mask_logits, outputs().proposals.mask_logits)
    assert again.load_cached(0, [7, "c"]) is None
    assert again.load_cached(1, [7, "b"]) is None
    again.stored.path(0).write_bytes(b"half of a file")
    assert again.load_cached(0, [7, "b"]) is None


def test_rounded_masks_are_not_reused(tmp_path: Path) -> None:
    writer(tmp_path, masks="fp16").write(0, outputs())
    assert writer(tmp_path, masks="fp16").load_cached(0, [7, "b"]) is None


@pytest.mark.parametrize(
    "change", [{"made_by": {"checkpoint": "other"}}, {"batches": [2, 1]}, {"masks": "int8"}, {"sources": ["cropping"]}]
)
def test_a_folder_of_other_proposals_is_not_overwritten(change, tmp_path: Path) -> None:
    writer(tmp_path).write(0, outputs())
    with pytest.raises(ProposalsError, match="has proposals of another checkpoint, data or kind"):
        writer(tmp_path, **change)


def test_files_of_other_proposals_are_not_read(tmp_path: Path) -> None:
    """A batch, or the names, of another checkpoint beside the domain.json of this one."""
    for name, made_by in (("a", {"checkpoint": "a"}), ("b", {"checkpoint": "b"})):
        new = writer(tmp_path / name, made_by=made_by)
        for index in range(2):
            new.write(index, outputs(index))
    stored = open_domain(tmp_path / "a", "scenes")
    for file, read in (("000001.safetensors", lambda: list(stored.batches())), ("text.safetensors", stored.names)):
        path = tmp_path / "a" / "scenes" / file
        own = path.read_bytes()
        path.write_bytes((tmp_path / "b" / "scenes" / file).read_bytes())
        with pytest.raises(ProposalsError, match=rf"{file} belongs to other proposals than the domain.json beside it"):
            read()
        path.write_bytes(own)
        read()


def test_batches_that_lost_their_metadata_are_not_continued_by_another_checkpoint(tmp_path: Path) -> None:
    writer(tmp_path).write(0, outputs())
    (tmp_path / "scenes" / "domain.json").unlink()
    assert writer(tmp_path, made_by={"checkpoint": "other"}).load_cached(0, [7, "b"]) is None
    assert writer(tmp_path, made_by={"checkpoint": "other"}).stored.path(0).is_file()


def test_domains_of_different_networks_are_not_scored_together(tmp_path: Path) -> None:
    writer(tmp_path / "proposals")
    writer(tmp_path / "other", made_by={"checkpoint": "b", "experiment": "opsnet_r50"})
    assert stored_origin(tmp_path).experiment == "opsnet_r50"
    (tmp_path / "other" / "scenes").rename(tmp_path / "proposals" / "street")
    with pytest.raises(ProposalsError, match=r"street and .*scenes were stored from different networks .*checkpoint"):
        stored_origin(tmp_path)


def test_folders_of_earlier_versions_are_read_and_continued_anew(tmp_path: Path) -> None:
    new = writer(tmp_path)
    for index in range(2):
        write_outputs(new.stored.path(index), outputs(index), "exact")
    path = new.stored.folder / "domain.json"
    path.write_text(json.dumps({key: value for key, value in new.stored.about.items() if key != "tied"}))
    assert [len(batch) for batch in open_domain(tmp_path, "scenes").batches()] == [2, 2]
    assert writer(tmp_path).load_cached(0, [7, "b"]) is None


def test_an_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(ProposalsError, match="proposal_masks must be one of exact, fp16, int8, got 'zip'"):
        writer(tmp_path, masks="zip")


def test_a_folder_without_the_domain(tmp_path: Path) -> None:
    with pytest.raises(ProposalsError, match="has no proposals of 'scenes' .it has none at all.: give"):
        open_domain(tmp_path, "scenes")
    writer(tmp_path)
    with pytest.raises(ProposalsError, match=r"it has scenes\).*~data\.module\.test\.street"):
        open_domain(tmp_path, "street")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format": 7}, "has format 7, but this version reads format 1"), (None, "is not the metadata")],
)
def test_a_folder_of_another_format(change, message: str, tmp_path: Path) -> None:
    path = writer(tmp_path).stored.folder / "domain.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change} if change else [1]))
    with pytest.raises(ProposalsError, match=message):
        open_domain(tmp_path, "scenes")


def test_the_fingerprint_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    (tmp_path / "b").write_bytes(b"x" * 2_999_999 + b"y")
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")


def test_the_fingerprint_of_a_folder_is_of_all_its_files(tmp_path: Path) -> None:
    found = []
    for name, content in (("config.json", b"{}"), ("a/model.safetensors", b"x"), ("a/model.safetensors", b"y")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
        found.append(fingerprint(tmp_path))
    (tmp_path / "config.json").rename(tmp_path / "settings.json")
    assert len({*found, fingerprint(tmp_path)}) == 4
    assert fingerprint(tmp_path) == fingerprint(str(tmp_path))
