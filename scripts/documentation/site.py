"""Hooks of mkdocs.yml: what the pages need beyond what MkDocs does."""

from __future__ import annotations

import re

ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):<code>~?([^<]+)</code>")
"""A cross-reference in a docstring, as Markdown renders it: the role as text before the code."""


def on_page_content(html: str, **_: object) -> str:
    """Removes the names of Sphinx's roles, which docstrings use, before the code that they belong to."""
    return ROLE.sub(r"<code>\1</code>", html)
