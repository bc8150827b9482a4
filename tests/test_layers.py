"""Imports run one way: a layer knows only the layers above it, and siblings do not know one another."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "opsnet"
LAYERS = [
    ["utils"],
    ["structures"],
    ["vocabulary"],
    ["ops"],
    ["clip", "segmenter", "recognition", "panoptic", "metrics", "data"],
    ["model"],
    ["inference", "losses"],
    ["checkpoint"],
    ["visualization", "sweep", "preparation", "published"],
    ["prediction", "paper"],
    ["training", "evaluation"],
    ["miniature"],
    ["exporting", "web_demo"],
    ["diagnosis"],
    ["commands"],
    ["python -m"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


ENTRY_POINTS = ("train", "evaluate", "predict", "score", "train_clip", "prepare", "export", "demo", "doctor")
"""Files of a few lines for ``python -m opsnet.train``."""


def unit_of(module: str) -> str:
    """``opsnet.clip.loading`` -> ``clip``."""
    parts = module.split(".")
    return "python -m" if parts[1:] in ([name] for name in ENTRY_POINTS) else parts[1]


def imports_of(path: Path) -> set[str]:
    """Every opsnet module that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: write imports in full"
            found |= {f"{node.module}.{a.name}" for a in node.names} if node.module == "opsnet" else {node.module}
    return {name for name in found if name.startswith("opsnet.")}


def sources() -> list[Path]:
    return [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py"]


def violations(files: dict[str, set[str]]) -> list[str]:
    """Imports (of modules by the module's own name) that point to the same row or downwards."""
    return [
        f"{name} imports {other}"
        for name, imported in files.items()
        for other in sorted(imported)
        if unit_of(name) != unit_of(other) and RANK[unit_of(other)] >= RANK[unit_of(name)]
    ]


def module_name(path: Path) -> str:
    return "opsnet." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def test_every_part_has_a_layer() -> None:
    assert {unit_of(module_name(p)) for p in sources()} == set(RANK)


def test_imports_run_one_way() -> None:
    assert violations({module_name(p): imports_of(p) for p in sources()}) == []


def test_the_check_sees_a_violation() -> None:
    assert violations({"opsnet.clip.loading": {"opsnet.model"}}) == ["opsnet.clip.loading imports opsnet.model"]
    assert violations({"opsnet.clip.loading": {"opsnet.miniature.scenes"}}) == [
        "opsnet.clip.loading imports opsnet.miniature.scenes"
    ]
    assert violations({"opsnet.model": {"opsnet.clip.loading"}, "opsnet.clip.a": {"opsnet.clip.b"}}) == []
