"""scripts/ is a package: no script changes the import path, and scripts named in docs and messages exist."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "Makefile", ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
SOURCES = [*(ROOT / "scripts").rglob("*.py"), *(ROOT / "opsnet").rglob("*.py"), *(ROOT / "conf").rglob("*.yaml")]


def named(path: Path) -> set[str]:
    """The modules that a file runs with ``python -m scripts...``, and the script files that it names."""
    text = path.read_text(encoding="utf-8")
    modules = set(re.findall(r"(?:python3?|\$\(PY\)) -m (scripts\.[\w.]*\w)", text))
    return modules | {file.replace("/", ".") for file in re.findall(r"\b(scripts/[\w/]+)\.py\b", text)}


def test_the_import_path_is_not_changed() -> None:
    scripts = list((ROOT / "scripts").rglob("*.py"))
    assert len(scripts) > 20
    assert [path for path in scripts if "sys.path" in path.read_text(encoding="utf-8")] == []
    assert {path.parent for path in scripts} == {path.parent for path in scripts if path.name == "__init__.py"}


@pytest.mark.parametrize("path", [p for p in (*PAGES, *SOURCES) if named(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_named_scripts_exist(path: Path) -> None:
    assert [name for name in named(path) if find_spec(name) is None] == []


def test_the_pages_name_scripts() -> None:
    assert {ROOT / "Makefile", ROOT / "docs" / "commands.md"} <= {path for path in PAGES if named(path)}
