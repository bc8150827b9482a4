"""Yamls that Hydra wrote into a run's folder."""

from __future__ import annotations

import pytest

from opsnet.utils.run_yaml import read_run_yaml, run_value


def test_values_are_read_as_plain_text(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SOME", "secret")
    path = tmp_path / "config.yaml"
    path.write_text("seed: 3\ndata: {path: '${oc.env:SOME}'}\nnames: [a, b]\n")
    assert run_value(path, "seed") == 3
    assert run_value(path, "data.path") == "${oc.env:SOME}"
    assert read_run_yaml(path)["names"] == ["a", "b"]
    assert run_value(path, "data.other") is run_value(path, "seed.other") is run_value(path, "names.0") is None


@pytest.mark.parametrize(
    "content",
    ["a: &a [1]\nb: *a", "a: " + "[" * 60 + "]" * 60, "a: [", "a: !!python/name:os.system", "\x00", "a: b: c", "\xff"],
)
def test_what_hydra_does_not_write_is_not_read(content: str, tmp_path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content.encode("latin-1"))
    assert read_run_yaml(path) is None
    assert read_run_yaml(tmp_path / "missing.yaml") is None
    assert read_run_yaml(tmp_path) is None
