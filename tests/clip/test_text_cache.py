"""Embeddings on disk: computed once, gone on with after a stop, shared by processes, and never read when damaged."""

from __future__ import annotations

import hashlib
import logging
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from opsnet.clip.text_cache import TextCache
from opsnet.utils.errors import InputError

NAMES = [f"name {i}" for i in range(10)]


class Embedder:
    """Deterministic rows, each for its name alone; notes what it was asked."""

    def __init__(self, fail_at: str | None = None) -> None:
        self.asked: list[str] = []
        self.fail_at = fail_at

    def __call__(self, names: list[str]) -> Tensor:
        if self.fail_at in names:
            raise KeyboardInterrupt
        self.asked += names
        return torch.stack([torch.full((6,), int(n.split()[1]) + 0.1) for n in names])  # 0.1 has no exact half


EXPECTED = Embedder()(NAMES)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@pytest.mark.parametrize("part", [4, 1024])
def test_names_are_embedded_once(tmp_path: Path, part: int) -> None:
    embed, cache = Embedder(), TextCache(tmp_path / "new" / "folder", part=part)
    first, second = cache.rows(NAMES, embed), cache.rows(NAMES, embed)
    assert embed.asked == NAMES
    assert torch.equal(first, EXPECTED)
    assert torch.equal(second, EXPECTED)
    assert len(files(tmp_path / "new" / "folder")) == 1


def test_what_embeddings_depend_on_makes_another_file(tmp_path: Path) -> None:
    embed, cache = Embedder(), TextCache(tmp_path)
    for names, weights, templates in [(NAMES, "a", ["{}"]), (NAMES[:9], "a", ["{}"]), (NAMES, "b", ["{}"])]:
        cache.rows(names, embed, weights=weights, templates=templates)
    cache.rows(NAMES, embed, weights="a", templates=["a {}"])
    assert len(files(tmp_path)) == 4


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    cache = TextCache(tmp_path, part=3)
    with pytest.raises(KeyboardInterrupt):
        cache.rows(NAMES, Embedder(fail_at="name 7"))
    assert len(files(tmp_path)) == 2
    embed = Embedder()
    assert torch.equal(cache.rows(NAMES, embed), EXPECTED)
    assert embed.asked == NAMES[6:]
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("where", [-1, -60, 3, 20])
def test_a_flipped_byte_is_noticed_and_mended(tmp_path: Path, where: int, caplog: pytest.LogCaptureFixture) -> None:
    cache = TextCache(tmp_path)
    cache.rows(NAMES, Embedder())
    (file,) = files(tmp_path)
    content = bytearray(file.read_bytes())
    content[where] ^= 0x40
    file.write_bytes(content)
    embed = Embedder()
    with caplog.at_level(logging.WARNING):
        assert torch.equal(cache.rows(NAMES, embed), EXPECTED)
    assert embed.asked == NAMES
    assert str(file) in caplog.text
    assert torch.equal(cache.rows(NAMES, Embedder(fail_at="name 0")), EXPECTED)


def test_a_cut_file_is_noticed(tmp_path: Path) -> None:
    cache = TextCache(tmp_path)
    cache.rows(NAMES, Embedder())
    (file,) = files(tmp_path)
    file.write_bytes(file.read_bytes()[:-8])
    assert torch.equal(cache.rows(NAMES, Embedder()), EXPECTED)


def test_a_file_of_other_names_under_this_name_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = TextCache(tmp_path)
    cache.rows(NAMES, Embedder(), clip="of this network")
    (mine,) = files(tmp_path)
    for other in ({"names": NAMES, "clip": "another"}, {"names": NAMES[::-1], "clip": "of this network"}):
        cache.rows(other["names"], lambda names: Embedder()(names) + 7, clip=other["clip"])
        (foreign,) = set(files(tmp_path)) - {mine}
        foreign.replace(mine)
        caplog.clear()
        assert torch.equal(cache.rows(NAMES, Embedder(), clip="of this network"), EXPECTED)
        assert "are of other names" in caplog.text


@pytest.mark.parametrize("part", [4, 1024])
def test_embeddings_that_are_not_finite_are_an_error_and_not_stored(tmp_path: Path, part: int) -> None:
    def embed(names: list[str]) -> Tensor:
        rows = Embedder()(names)
        rows[names.index("name 9"), 3] = torch.nan
        return rows

    with pytest.raises(InputError, match=r"embedding of 'name 9' contains NaN or infinity: .*clip\.model\.weights"):
        TextCache(tmp_path, part=part).rows(["name 9", *NAMES[:9]], embed)
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "rows",
    [torch.full((10, 6), torch.inf), torch.ones(10, 6, dtype=torch.bfloat16), torch.ones(10), torch.ones(9, 6)],
    ids=["infinite", "bfloat16", "one row", "nine rows"],
)
def test_a_file_that_only_claims_to_be_whole_is_computed_again(rows: Tensor, tmp_path: Path) -> None:
    TextCache(tmp_path).rows(NAMES, Embedder())
    (path,) = files(tmp_path)
    about = {"key": path.stem, "sha256": hashlib.sha256(rows.view(torch.uint8).numpy().tobytes()).hexdigest()}
    save_file({"rows": rows}, path, metadata=about)
    assert torch.equal(TextCache(tmp_path).rows(NAMES, Embedder()), EXPECTED)


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with caplog.at_level(logging.WARNING):
        rows = TextCache(tmp_path / "taken", part=4).rows(NAMES, Embedder())
    assert torch.equal(rows, EXPECTED)
    assert "will be computed again next time" in caplog.text


def _fill(folder: Path) -> bool:
    cache = TextCache(folder, part=5)
    lists = [[*NAMES, f"name {i}"] for i in range(20)]
    return all(torch.equal(cache.rows(names, Embedder()), Embedder()(names)) for names in lists)


def test_two_processes_at_once_leave_whole_files(tmp_path: Path) -> None:
    with get_context("spawn").Pool(2) as pool:
        assert pool.map(_fill, [tmp_path, tmp_path], chunksize=1) == [True, True]
    embed = Embedder(fail_at="name 0")
    for i in range(20):
        TextCache(tmp_path).rows([*NAMES, f"name {i}"], embed)
    assert len(files(tmp_path)) == 20
