"""docs/architecture.md is true: its figure, its files and functions, and its counts of what an extension touches."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import pytest
import test_own_backbone
import test_own_dataset
import test_own_loss
import test_own_recognizer
from documented import ROOT, blocks
from omegaconf import OmegaConf
from test_layers import LAYERS

PAGE = ROOT / "docs" / "architecture.md"
TEXT = PAGE.read_text(encoding="utf-8")
SPANS = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", TEXT, flags=re.MULTILINE | re.DOTALL))
FUNCTIONS = sorted({span for span in SPANS if "::" in span})
FILES = sorted({span for span in SPANS if re.fullmatch(r"[\w/.]+\.(py|yaml|json|toml)", span)})
ADDITIONS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a recognizer, learned or not": (test_own_recognizer.addition, "modulation"),
    "a loss": (test_own_loss.addition, "experiment"),
    "a dataset": (test_own_dataset.addition, "data"),
    "a backbone of timm": (test_own_backbone.addition, "backbone"),
    "any other backbone": (test_own_backbone.class_addition, "backbone"),
}
"""First cell of a row -> what writes the yamls with which its test adds it, and their group."""


def rows(title: str) -> list[list[str]]:
    """The cells of the table below a bold title, without its head."""
    lines = TEXT.split(f"**{title}.**")[1].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|---"))
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith("|")), len(lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start + 1 : end]]


def test_the_figure_is_the_list_that_imports_are_checked_against() -> None:
    (figure,) = blocks(PAGE, "text")
    drawn = [re.split(r" {2,}", line)[0].split(" · ") for line in figure.splitlines()]
    assert drawn[::-1] == LAYERS
    assert all(re.fullmatch(r"\S.*\S {2,}\S.+", line) for line in figure.splitlines()), "a row lacks its description"


@pytest.mark.parametrize("span", FUNCTIONS)
def test_every_function_exists(span: str) -> None:
    path, _, name = span.partition("::")
    assert (ROOT / "opsnet" / path).is_file()
    module = importlib.import_module("opsnet." + path.removesuffix(".py").replace("/", "."))
    found = reduce(getattr, name.split("."), module)
    assert callable(found)
    assert found.__module__ == module.__name__, f"{name} is defined in {found.__module__}"


@pytest.mark.parametrize("span", FILES)
def test_every_file_exists(span: str) -> None:
    assert (ROOT / span).is_file() or (ROOT / "opsnet" / span).is_file()


def test_the_page_names_something() -> None:
    assert len(FUNCTIONS) > 30
    assert len(FILES) > 15


def test_the_rows_are_the_additions_that_tests_make() -> None:
    assert [row[0] for row in rows("Outside the package")] == list(ADDITIONS)


@pytest.mark.parametrize("name", ADDITIONS)
def test_an_addition_takes_as_many_files_as_the_page_says(name: str, tmp_path: Path) -> None:
    """Nothing of the package is changed: the test that the row names runs with the package as it is."""
    add, group = ADDITIONS[name]
    add(tmp_path)
    yamls = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.parent == tmp_path / group and path.suffix == ".yaml" for path in yamls)
    targets = [found for path in yamls for found in targets_of(OmegaConf.to_container(OmegaConf.load(path)))]
    own = {target for target in targets if not target.startswith("opsnet.")}
    test = f"`tests/{add.__module__}.py`"
    assert next(row for row in rows("Outside the package") if row[0] == name) == [
        name, str(len(own)), str(len(yamls)), "0", test,
    ]  # fmt: skip
    assert all(target.startswith(f"{add.__module__}.") for target in own)


def targets_of(node: object) -> list[str]:
    """All ``_target_`` of a configuration."""
    if isinstance(node, list):
        return [target for item in node for target in targets_of(item)]
    if not isinstance(node, dict):
        return []
    own = [node["_target_"]] if "_target_" in node else []
    return own + [target for item in node.values() for target in targets_of(item)]


@pytest.mark.parametrize("row", rows("In the package"), ids=lambda row: row[0])
def test_an_example_in_the_package_is_in_no_other_file(row: list[str]) -> None:
    word = row[2].strip("`")
    listed = set(re.findall(r"`([^`]+)`", row[1]))
    candidates = [ROOT / "pyproject.toml"]
    for folder in ("opsnet", "conf"):
        candidates += [p for p in (ROOT / folder).rglob("*") if p.suffix in (".py", ".yaml", ".json", ".toml")]
    # The help of a command shows examples by name, on which nothing depends.
    candidates = [p for p in candidates if p.parent.name != "commands" or str(p.relative_to(ROOT)) in listed]
    named = {p for p in candidates if p.stem == word or word in p.read_text(encoding="utf-8")}
    assert {str(path.relative_to(ROOT)) for path in named} == listed


def test_readers_find_the_page() -> None:
    for page in ("README.md", "CONTRIBUTING.md"):
        assert "](docs/architecture.md)" in (ROOT / page).read_text(encoding="utf-8")
