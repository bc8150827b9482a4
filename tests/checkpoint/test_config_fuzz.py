"""Stored configurations changed at random, through everything that builds from them, with canaries."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import pytest
from canaries import watched

from opsnet.utils.errors import InputError
from scripts.fuzz import stored_configs


def load_all(seeds: range, folder: Path, limit: float) -> dict[str, int]:
    """Loads each case in a folder of its own; fails if one does what it must not."""
    counts = {"accepted": 0, "refused": 0}
    (folder / "private").mkdir()
    for seed in seeds:
        own, case = folder / "sent", stored_configs.case(seed)
        own.mkdir()
        start = time.perf_counter()
        with watched(own, folder / "private") as found:
            try:
                stored_configs.run(case, own)
                counts["accepted"] += 1
            except InputError as error:
                counts["refused"] += 1
                message = str(error).replace(str(folder), "")
                assert "\n" not in message, (seed, message)
                assert len(message) < 1000, (seed, message)
        assert found == [], (seed, found)
        assert time.perf_counter() - start < limit, seed
        own.rename(folder / f"done_{seed}")
    return counts


def test_a_few_change_nothing_but_their_folder(tmp_path) -> None:
    stored_configs.real()  # its libraries write into folders of their own when they are imported
    counts = load_all(range(25), tmp_path, 20)
    assert counts["accepted"] >= 1
    assert counts["refused"] >= 15


@pytest.mark.slow
def test_two_thousand_take_five_seconds_and_two_gigabytes_at_most(tmp_path) -> None:
    import resource

    stored_configs.real()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts = {"accepted": 0, "refused": 0}
    for first in range(0, 2000, 100):
        folder = tmp_path / str(first)
        folder.mkdir()
        found = load_all(range(first, first + 100), folder, 5)
        counts = {key: counts[key] + found[key] for key in counts}
    assert counts["accepted"] >= 100
    assert counts["refused"] >= 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2 * 2**20  # kB


def test_a_case_is_the_same_each_time_and_the_real_one_is_accepted(tmp_path) -> None:
    for seed in range(50):
        assert pickle.dumps(stored_configs.case(seed)) == pickle.dumps(stored_configs.case(seed))  # printing is endless
    stored_configs.run(stored_configs.StoredCase(stored_configs.real().config, False, {}), tmp_path)


def test_what_ran_is_noticed(tmp_path, monkeypatch) -> None:
    """A loader that does what a configuration says is caught by the canary, and one that shows a secret too."""
    shell = {**stored_configs.SHELL}

    def careless(path: Path, **_: object) -> None:
        import os

        import torch

        os.system(torch.load(path, weights_only=True)["opsnet"]["config"]["command"])

    monkeypatch.setattr(stored_configs, "load_checkpoint", careless)
    with pytest.raises(stored_configs.Escaped, match="ran or wrote"):
        stored_configs.run(stored_configs.StoredCase(shell, False, {}), tmp_path)
    (tmp_path / "canary").unlink()

    def talkative(path: Path, **_: object) -> None:
        raise InputError(f"it has {stored_configs.SECRET}")

    monkeypatch.setattr(stored_configs, "load_checkpoint", talkative)
    with pytest.raises(stored_configs.Escaped, match="secret"):
        stored_configs.run(stored_configs.StoredCase(shell, False, {}), tmp_path)
