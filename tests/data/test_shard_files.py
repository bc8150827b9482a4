"""Which files a configuration's shards are: folders, lists, braces, wildcards; and nothing but local files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from shard_writing import write_info, write_shards

from opsnet.data.shard_files import find_shards
from opsnet.utils.errors import DatasetError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven empty shards and another file."""
    root = tmp_path_factory.mktemp("shards")
    write_shards(root, [0] * 11)
    (root / "readme.txt").write_text("none")
    return root


def names(*given: object, **options: str) -> list[str]:
    return [shard.path.name for shard in find_shards(*given, **options)]


EVERY = [f"train-{k:04d}.tar" for k in range(11)]


def test_folders_braces_wildcards_and_lists(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(folder) == names(str(folder)) == EVERY
    assert names(f"{folder}/train-{{0000..0010}}.tar") == EVERY
    assert names(f"{folder}/train-00{{0{{1,3}},10}}.tar") == [EVERY[k] for k in (1, 3, 10)]
    assert names(f"{folder}/*-000?.tar") == EVERY[:10]
    assert names([folder / EVERY[3], f"{folder}/train-000{{0..1}}.tar"]) == [EVERY[k] for k in (3, 0, 1)]
    monkeypatch.setenv("HOME", str(folder))
    assert names("~/train-0002.tar") == EVERY[2:3]


def test_the_info_of_timm_lists_the_shards_of_a_split(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, [2, 3, 1])
    write_info(tmp_path, paths[:2], [2, 3])
    assert [(s.path, s.samples) for s in find_shards(tmp_path)] == [(paths[0], 2), (paths[1], 3)]
    with pytest.raises(DatasetError, match=r"split 'validation': it is not among train: set `split`"):
        find_shards(tmp_path, "validation")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"filenames": ["/etc/passwd"], "shard_lengths": [1]}, "'filename' is '/etc/passwd', not the path of a file"),
        ({"filenames": ["../a.tar"], "shard_lengths": [1]}, "'filename' is '../a.tar', not the path of a file"),
        ({"shard_lengths": [1]}, "2 filenames have 1 shard_lengths"),
        ({"shard_lengths": ["x", 1]}, "'length' is 'x', not a whole number"),
        ({"filenames": None}, "'filenames' is None, not a list"),
        ({"filenames": ["no.tar", "train-0000.tar"]}, "no.tar does not exist (1 of 2 are missing): download it"),
    ],
)
def test_an_info_that_lies_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    write_info(tmp_path, write_shards(tmp_path, [1, 1]), [1, 1], **changes)
    with pytest.raises(DatasetError) as caught:
        find_shards(tmp_path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["pipe:touch {}", "https://host/{}/a.tar", "s3://bucket/a.tar", "file:{}/train-0000.tar", "hf://datasets/a.tar"],
)
def test_addresses_are_refused_and_no_program_is_started(tmp_path: Path, address: str) -> None:
    target = tmp_path / "made"
    with pytest.raises(DatasetError, match=r"are not local files, from which alone they are read: download"):
        find_shards(address.format(target))
    with pytest.raises(DatasetError, match="are not local files"):
        find_shards([tmp_path, address.format(target)]) if list(tmp_path.glob("*.tar")) else find_shards(
            [address.format(target)]
        )
    assert not target.exists()


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("train-{0..2", "a brace has no partner"),
        ("train-{0..99999999999}.tar", "stand for more than 100,000 files"),
        ("{0..999}{0..999}.tar", "stand for more than 100,000 files"),
        ("nothing-*.tar", "no shard has a name like"),
        ("train-{0009..0012}.tar", "train-0011.tar does not exist (2 of 4 are missing)"),
        ("train-000{1..2}*.tar", None),
    ],
)
def test_patterns_that_do_not_fit_are_named(folder: Path, pattern: str, message: str | None) -> None:
    if message is None:
        assert names(f"{folder}/{pattern}") == EVERY[1:3]
        return
    with pytest.raises(DatasetError) as caught:
        find_shards(f"{folder}/{pattern}")
    assert message in str(caught.value)


def test_a_shard_given_twice_and_an_empty_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"train-0001.tar is given twice"):
        find_shards([f"{folder}/train-0001.tar", f"{folder}/*.tar"])
    with pytest.raises(DatasetError, match=r"has neither an _info.json nor .tar files"):
        find_shards(tmp_path)
    with pytest.raises(DatasetError, match="no shards are given"):
        find_shards([])
    os.mkfifo(tmp_path / "a.tar")  # opening it would wait forever
    with pytest.raises(DatasetError, match=r"a.tar does not exist"):
        find_shards(tmp_path)
