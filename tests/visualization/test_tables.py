"""Tables as text: what a terminal, markdown and LaTeX make of them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from opsnet.visualization.tables import Table, to_latex, to_markdown, to_rich


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        Table("T", "", ("a", "b"), (("x",),))


def test_markdown():
    table = Table("T", "How to read it.", ("name", "PQ"), (("a|b", "1.0"), ("c", "not run")))
    assert to_markdown(table) == (
        "## T\n\n| name | PQ |\n| :--- | ---: |\n| a\\|b | 1.0 |\n| c | not run |\n\nHow to read it.\n"
    )


def test_rich_prints_brackets_as_they_are():
    console = Console(file=io.StringIO(), width=80)
    console.print(to_rich(Table("T", "", ("name",), (("[bold]x",),))))
    assert "[bold]x" in console.file.getvalue()


def test_notes_are_a_list_in_markdown_and_lines_in_a_terminal():
    table = Table("T", "How.", ("name",), (("x",),), notes=("one", "two [a]"))
    assert to_markdown(table).endswith("How.\n\n- one\n- two [a]\n")
    console = Console(file=io.StringIO(), width=80)
    console.print(to_rich(table))
    assert "one" in console.file.getvalue()
    assert "[a]" in console.file.getvalue()


def test_latex_escapes_and_aligns():
    table = Table("T_1", "50% of `a&b`", ("name", "PQ ±"), (("†x_{1}", "<1"), ("~^\\", "2")), notes=("see #3",))
    lines = to_latex(table).splitlines()
    assert r"\begin{tabular}{lr}" in lines
    assert r"name & PQ $\pm$ \\" in lines
    assert r"\textdagger{}x\_\{1\} & \textless{}1 \\" in lines
    assert r"\textasciitilde{}\textasciicircum{}\textbackslash{} & 2 \\" in lines
    assert r"\caption{T\_1. 50\% of a\&b. see \#3.}" in lines
    assert [lines.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
