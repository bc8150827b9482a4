"""PyTorch's files of other people: what would take more memory than the file has bytes is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from opsnet.checkpoint.reading import read_checkpoint
from opsnet.clip.loading import ClipWeightsError, load_clip
from opsnet.clip.tiny import tiny_clip
from opsnet.segmenter.published.weight_files import WeightsError, read_weights
from opsnet.utils.errors import CheckpointError
from opsnet.utils.torch_files import load_tensors, not_stored


def compressed(path: Path) -> None:
    """Compresses the parts of a file of ``torch.save``, which PyTorch reads without a word."""
    plain = path.with_suffix(".plain")
    path.rename(plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))


def save(path: Path, tensor: Any) -> None:
    torch.save({"state_dict": {"a": torch.ones(3), "b": tensor}, "opsnet": {}}, path)


@pytest.mark.parametrize("form", ["compressed", "expanded", "sparse", "meta"])
def test_what_is_larger_in_memory_than_in_the_file_is_refused(form: str, tmp_path: Path) -> None:
    path = tmp_path / "some.ckpt"
    tensor = {
        "compressed": torch.zeros(2_000_000),
        "expanded": torch.zeros(1).expand(10**6, 10**6),
        "sparse": torch.sparse_coo_tensor(torch.zeros(2, 1), torch.ones(1), (10**9, 10**9)),
        "meta": torch.zeros(10**6, 10**6, device="meta"),
    }[form]
    save(path, tensor)
    if form == "compressed":
        compressed(path)
        assert path.stat().st_size < 100_000
        with pytest.raises(ClipWeightsError, match="compressed"):
            load_clip(architecture=tiny_clip, weights=path)
    with pytest.raises(
        CheckpointError, match=r"some\.ckpt.*(not an OPSNet checkpoint|not all values of b are in the file)"
    ):
        read_checkpoint(path)
    with pytest.raises(WeightsError, match=r"some\.ckpt"):
        read_weights(path)


def test_an_array_that_repeats_a_few_bytes_is_not_copied(tmp_path: Path) -> None:
    import pickle

    few = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (10**6, 10**6), (0, 0))

    class Repeated:
        def __reduce__(self) -> tuple[Any, ...]:
            return np.ndarray, (few.shape, "f4", b"\0" * 4, 0, (0, 0))

    (tmp_path / "some.pkl").write_bytes(pickle.dumps({"a": Repeated(), "b": np.ones(3, np.float32)}))
    assert read_weights(tmp_path / "some.pkl").keys() == {"b"}


def test_shared_and_sliced_weights_are_in_the_file(tmp_path: Path) -> None:
    whole = torch.arange(100.0)
    torch.save(
        {"a": whole, "b": whole, "c": whole[10:20], "d": whole.view(10, 10).T, "e": torch.zeros(0)}, tmp_path / "x"
    )
    read = load_tensors(tmp_path / "x")
    assert not_stored(read, tmp_path / "x") is None
    assert torch.equal(read["d"], whole.view(10, 10).T)


def test_a_file_of_another_kind_is_one_error(tmp_path: Path) -> None:
    for content in (b"secret no weights", b"", b"\x80\x02", b"(((", b"}s.", bytes(range(256))):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(ValueError, match="."):
            load_tensors(tmp_path / "x")
