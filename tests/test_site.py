"""The documentation site: its navigation, the links of all pages, and a strict build without network."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import pytest
import yaml
from documented import PAGES, ROOT

from scripts.documentation import site

TOP = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
OFFLINE = """
import socket, sys

def refused(*_):
    raise OSError("this test has no network")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused
from mkdocs.__main__ import cli

try:
    cli(["build", "--strict", "--site-dir", sys.argv[1]])
finally:
    assert "torch" not in sys.modules, "the API reference is read from the sources, not imported"
"""


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, whose !ENV is MkDocs' own."""


_Loader.add_constructor("!ENV", lambda loader, node: loader.construct_sequence(node))


def config() -> dict[str, Any]:
    found: dict[str, Any] = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Loader)
    return found


def files_of(nav: list[Any]) -> Iterator[str]:
    """The pages of a navigation, in order."""
    for entry in nav:
        (value,) = entry.values()
        yield from [value] if isinstance(value, str) else files_of(value)


def test_every_page_is_in_the_navigation() -> None:
    listed = list(files_of(config()["nav"]))
    assert len(listed) == len(set(listed))
    there = {str(path.relative_to(ROOT / "docs")) for path in PAGES if path.parent.name == "docs"}
    assert there - set(listed) == set(), "a new page of docs/: add it to nav in mkdocs.yml"
    assert set(listed) - there == set(), "nav in mkdocs.yml names a page that docs/ does not have"


def test_nothing_is_fetched_by_readers() -> None:
    found = config()
    assert found["theme"]["font"] is False
    assert "extra_javascript" not in found and "extra_css" not in found


def slugs(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.*)$", text, flags=re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip()
        found.add(re.sub(r"-+", "-", words.replace(" ", "-")))
        found.add(words.replace(" ", "-"))
    return found


def links(path: Path) -> list[str]:
    """The relative links and images of a page of Markdown."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"<img src=\"([^\"]+)\"", text)
    return [link for link in found if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("path", [*PAGES, TOP[1]], ids=lambda path: path.name)
def test_links_lead_somewhere_on_github(path: Path) -> None:
    for link in links(path):
        file, anchor = urldefrag(link)
        target = (path.parent / unquote(file)).resolve() if file else path
        assert target.is_file(), f"{path.name}: {link}"
        assert target.is_relative_to(ROOT), f"{path.name}: {link}"
        if anchor and target.suffix == ".md":
            assert anchor in slugs(target), f"{path.name}: {link}"
        if path.parent.name == "docs":
            assert target.is_relative_to(ROOT / "docs"), (
                f"{path.name}: {link} leaves docs/, so the site does not have it"
            )


def test_roles_of_docstrings_are_removed() -> None:
    html = "<p>see :class:<code>~opsnet.Predictor</code> and :func:<code>load</code>, <code>:class:</code></p>"
    assert site.on_page_content(html) == (
        "<p>see <code>opsnet.Predictor</code> and <code>load</code>, <code>:class:</code></p>"
    )


class _Page(HTMLParser):
    """Links, ids and resources of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.resources: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.ids |= {given[key] for key in ("id", "name") if key in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in ("script", "img", "iframe") and "src" in given:
            self.resources.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "preconnect", "icon", "preload"):
            self.resources.append(given["href"])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it, where no connection can be opened."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_the_site_is_built_offline_without_a_broken_link(built: Path) -> None:
    pages = {path.resolve(): _Page(path) for path in built.rglob("*.html") if path.name != "404.html"}
    assert len(pages) == len(PAGES) - 1  # README.md is not part of the site
    for path, page in pages.items():
        assert [found for found in page.resources if re.match(r"(https?:)?//", found)] == [], path.name
        for link in page.links:
            if re.match(r"[a-z]+:|//", link):
                continue
            file, anchor = urldefrag(link)
            target = (path.parent / unquote(file)).resolve() if file else path
            assert target.is_file(), f"{path.name}: {link}"
            if anchor and target in pages:
                assert unquote(anchor) in pages[target].ids, f"{path.name}: {link}"


@pytest.mark.slow
def test_the_reference_has_the_docstrings(built: Path) -> None:
    text = (built / "reference.html").read_text(encoding="utf-8")
    for name in ("EmbeddingModulation", "MaskFiltering", "Vocabulary", "Predictor", "SegmentLoss"):
        assert f">{name}<" in text or f">{name}</" in text, name
    assert "strength of the fusion" in text
    assert not re.search(r":(class|func|meth|mod):", text)
