"""``import opsnet``: what Tab completion lists, the version, and that nothing heavy is imported."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import opsnet

PROJECT = Path(__file__).parent.parent / "pyproject.toml"


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT.parent)


def test_the_package_itself_imports_nothing_heavy() -> None:
    code = (
        "import sys, opsnet; dir(opsnet); opsnet.__version__; "
        "assert not {'torch', 'numpy', 'pandas', 'supervision', 'av'} & sys.modules.keys(); opsnet.nothing"
    )
    assert "has no attribute 'nothing'" in run(code).stderr


def test_optional_packages_are_not_imported_with_the_predictor() -> None:
    done = run("import sys, opsnet; opsnet.Predictor; assert not {'supervision', 'av'} & sys.modules.keys()")
    assert done.returncode == 0, done.stderr


def test_the_public_names_are_listed_and_exist() -> None:
    assert {"load", "Predictor", "PanopticResult", "score", "__version__"} <= set(dir(opsnet))
    assert set(opsnet.__all__) <= set(dir(opsnet))
    for name in opsnet.__all__:
        assert getattr(opsnet, name).__name__ == name
        assert getattr(opsnet, name).__doc__


def test_the_version_is_that_of_pyproject(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = next(line for line in PROJECT.read_text().splitlines() if line.startswith("version = "))
    assert f'version = "{opsnet.__version__}"' == stated

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert f'version = "{opsnet.__version__}"' == stated  # a source tree that is not installed


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(AttributeError, match="module 'opsnet' has no attribute 'nothing'"):
        opsnet.nothing  # noqa: B018
