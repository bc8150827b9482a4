"""``domain.json``: invalid ones are refused in a sentence, and the hash depends on the whole content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opsnet.evaluation.domain_file import MAX_BYTES, digest, read_about
from opsnet.evaluation.proposal_files import ProposalsError

GOOD = {
    "format": 1, "tied": True, "domain": "scenes", "batches": 2, "batch_sizes": [2, 1], "sources": ["pooling"],
    "vocabulary": {"name": "cats", "categories": []},
}  # fmt: skip


def write(folder: Path, content: object) -> Path:
    path = folder / "domain.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_valid_one_is_read(tmp_path: Path) -> None:
    assert read_about(write(tmp_path, GOOD)) == GOOD


@pytest.mark.parametrize(
    "change",
    [
        {"batches": 10**12}, {"batches": True, "batch_sizes": [1]}, {"batches": "2"}, {"batch_sizes": [2, 0]},
        {"batch_sizes": [2, 1.0]}, {"batch_sizes": "21"}, {"sources": ["pooling", "other"]}, {"sources": [["pooling"]]},
        {"sources": "pooling"}, {"vocabulary": []}, {"vocabulary": {"name": "a"}},
    ],
    ids=str,
)  # fmt: skip
def test_values_that_do_not_fit_are_refused_before_anything_is_read(change: dict, tmp_path: Path) -> None:
    with pytest.raises(ProposalsError, match=r"domain\.json is not the metadata of stored proposals"):
        read_about(write(tmp_path, {**GOOD, **change}))


@pytest.mark.parametrize("text", ["", "[1]", "null", "[" * 100_000, '{"format": 1}', "\x00"], ids=lambda text: text[:9])
def test_what_is_no_metadata_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ProposalsError, match=r"domain\.json is not the metadata of stored proposals"):
        read_about(write(tmp_path, text))


def test_a_file_of_any_length_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    with path.open("ab") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ProposalsError, match="it is larger than 64 MB"):
        read_about(path)


def test_the_hash_is_of_the_content_in_any_order() -> None:
    first = digest(GOOD)
    assert first is not None
    assert digest(dict(reversed(GOOD.items()))) == first
    assert {digest({**GOOD, "checkpoint": name}) for name in "ab"}.isdisjoint({first})
    assert digest({key: value for key, value in GOOD.items() if key != "tied"}) is None
