"""The files around the code: metadata of the package, citation, changelog, workflows and forms."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from documented import ROOT

PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def read(path: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def versions() -> list[str]:
    """The Pythons of the classifiers."""
    return re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PROJECT)


def test_ci_tests_every_python_that_is_promised() -> None:
    matrix = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["ci"]["strategy"]["matrix"]["python-version"]
    assert matrix == versions() == ["3.10", "3.11", "3.12", "3.13"]
    assert f'requires-python = ">={versions()[0]}"' in PROJECT


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_ask_for_no_more_than_they_need(path: Path) -> None:
    workflow = read(path)
    rights = [workflow["permissions"], *(job.get("permissions", {}) for job in workflow["jobs"].values())]
    allowed = {"contents": "read", "pages": "write", "id-token": "write"}
    assert all(allowed.get(name) == value for given in rights for name, value in given.items())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    for step in steps:
        assert "run" in step or re.search(r"@(v\d+|release/v\d+)$", step["uses"]), step
        for target in re.findall(r"\bmake ([a-z-]+)", step.get("run", "")):
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        for test in re.findall(r"tests/[\w/]+\.py", step.get("run", "")):
            assert (ROOT / test).is_file(), test
    assert "secrets." not in path.read_text(encoding="utf-8")  # PyPI and Pages trust the workflow itself


def test_the_citation_names_paper_and_software() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert (citation["cff-version"], citation["type"], citation["license"]) == ("1.2.0", "software", "Apache-2.0")
    assert f'version = "{citation["version"]}"' in PROJECT
    (paper,) = citation["references"]
    assert paper["title"] == "Open-vocabulary Panoptic Segmentation with Embedding Modulation"
    assert [author["family-names"] for author in paper["authors"]] == ["Chen", "Li", "Lim", "Torralba", "Zhao"]
    assert paper["url"] in PROJECT
    assert paper["url"] in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_changelog_has_what_a_release_needs() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## \[(.*)\]", text, re.MULTILINE)
    assert heads[0] == "Unreleased"
    known = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= known


@pytest.mark.parametrize("path", [p for p in FORMS if p.name != "config.yml"], ids=lambda path: path.name)
def test_issue_forms_are_complete(path: Path) -> None:
    form = read(path)
    assert {"name", "description", "labels", "body"} <= form.keys()
    ids = [part["id"] for part in form["body"]]
    assert len(ids) == len(set(ids)) > 0
    for part in form["body"]:
        assert part["type"] in {"textarea", "input", "checkboxes"}
        assert part["attributes"]["label"]
    text = path.read_text(encoding="utf-8")
    assert all((ROOT / page).is_file() for page in re.findall(r"docs/[\w.]+\.md", text))


def test_the_readme_fits_a_screen_or_two() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 120
    first = "\n".join(lines[:25])
    assert "docs/figures/strip.png" in first
    assert "Status" in first and "Does not exist" in first
