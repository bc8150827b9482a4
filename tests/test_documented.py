"""All code of README.md and docs/ runs: here as it is written, by a test of its own, or composed where it is too large.

Every command line and block is in one category. Without an entry in ``tests/documented_exceptions.py`` it is run, as it
is written, in the folder of ``tests/documented_folder.py``; so a block that nothing claims cannot go unnoticed.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from documented import COMMAND, PAGES, ROOT, SHELL, Block, Line, fenced, lines, run_documented
from documented_exceptions import (
    ADDED,
    COMPOSED,
    COMPOSED_COMMANDS,
    ELSEWHERE,
    NOT_RUN,
    PAGES_ELSEWHERE,
    RUN_PREPARATIONS,
    SCRIPTS,
    TRAIN,
)
from documented_folder import write_folder
from hydra import compose as hydra_compose
from hydra import initialize_config_dir

from opsnet.commands import prepare
from opsnet.utils.configuration import config_dir

NO_CODE = ("text", "json")
"""Languages of blocks that show something; json and yaml are parsed."""

FAST = {"README.md", *(f"docs/{name}.md" for name in ("commands", "configuration", "images", "index"))}
"""Pages whose commands run in every test run; those of the others are marked slow."""

ALL_LINES = list({line.text: line for page in reversed(PAGES) for line in reversed(lines(page))}.values())[::-1]
ALL_BLOCKS = [block for page in PAGES for block in fenced(page)]


def category(line: Line) -> str:
    """How a command line is tested: "page", "elsewhere", "not run", "make", "composed", "parsed" or "run"."""
    script = re.search(r"python -m (scripts\.[\w.]+)", line.text)
    if (line.page, line.language) in PAGES_ELSEWHERE and line.place == "block":
        return "page"
    if line.text in NOT_RUN:
        return "not run"
    if line.text in ELSEWHERE or (script and script[1] in SCRIPTS):
        return "elsewhere"
    if line.text.startswith("make "):
        return "make"
    plain = line.text.removeprefix(".venv/bin/")
    if plain.startswith("opsnet-prepare") and plain not in RUN_PREPARATIONS:
        return "parsed"
    if plain in COMPOSED or plain.split()[0] in COMPOSED_COMMANDS or (line.place == "sentence" and not script):
        return "composed"
    return "run"


def chosen(name: str, *, slow: bool = False) -> list[Any]:
    """The lines of a category as parameters of a test; with ``slow``, those outside the fast pages are marked."""
    marks = [pytest.mark.slow] if slow else []
    return [
        pytest.param(line, id=f"{line.page}: {line.text}", marks=[] if line.page in FAST else marks)
        for line in ALL_LINES
        if category(line) == name
    ]


@pytest.fixture(scope="module", autouse=True)
def minutes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Prints how long the code of the documentation takes."""
    start = time.monotonic()
    yield
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{len(ALL_LINES)} commands, {len(ALL_BLOCKS)} blocks: {(time.monotonic() - start) / 60:.1f} minutes")


@pytest.fixture(scope="module")
def folder(world, lenient_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("reader"), world.data, lenient_checkpoint)


@pytest.fixture
def reader(folder: Path, command: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a command line in that folder."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("OPSNET_DATA", "data")
    monkeypatch.setenv("OPSNET_RUNS", "runs")
    return lambda line, *more: run_documented(words_of(line), command, *more)


def words_of(line: str) -> list[str]:
    """The words that a shell makes of a line, without a variable in front."""
    return shlex.split(line.replace("<date_time>", "date_time").removeprefix("PYTHONPATH=. "))


@pytest.mark.parametrize("line", chosen("run", slow=True))
def test_it_runs(line: Line, reader: Callable[..., None], world_overrides: list[str]) -> None:
    text = line.text
    assert COMMAND.search(text), (
        f"{line.page}: '{text}' is no command of this project: add it to NOT_RUN, with a reason"
    )
    small: list[str] = []
    if "data=" not in text and re.search(r"opsnet-(train|evaluate) ", text):
        small = [word for word in world_overrides if not word.startswith("paths")]
    added = ADDED.get(text, TRAIN if re.search(r"opsnet-train ", text) else [])
    if "resume=auto" in text:
        reader(text.removesuffix(" resume=auto"), *added, *small)
    if "proposals=FOLDER" in text:
        reader("opsnet-evaluate checkpoint=last.ckpt save_proposals=true hydra.run.dir=FOLDER", *small)
    reader(text, *added, *small)


@pytest.mark.parametrize("line", chosen("composed"))
def test_it_composes(line: Line, folder: Path, tmp_path: Path) -> None:
    name, overrides = composition(line.text)
    path = f"hydra.searchpath=[file://{folder / 'my_conf'}]"
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = hydra_compose(name, [*overrides, f"output={tmp_path}", path])
    assert cfg.output == str(tmp_path)


def composition(text: str) -> tuple[str, list[str]]:
    """The yaml of a command line in conf/, and its overrides: of a sweep those of the first job."""
    command, *words = words_of(text)
    name = Path(command).name.removeprefix("opsnet-").replace("-", "_")
    if "--config-dir" in words:
        at = words.index("--config-dir")
        words = words[:at] + words[at + 2 :]
    words = [word for word in words if word not in ("-m", "...") and not word.startswith("hydra.")]
    if name == "doctor" and any(re.match(r"(experiment|backbone|model|trainer)=", word) for word in words):
        name = "train"  # a rehearsal
    return name, [_first_job(word) for word in words]


def _first_job(word: str) -> str:
    key, _, value = word.partition("=")
    if value.startswith("range("):
        return f"{key}={value[6:].split(',')[0]}"
    return word if re.match(r"[\[{'\"]", value) or "," not in value else f"{key}={value.split(',')[0]}"


@pytest.mark.parametrize("line", chosen("parsed"))
def test_its_arguments_are_parsed(line: Line, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    """In an empty folder, where a file is what is missing: the error of a wrong argument has the usage before it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPSNET_DATA", "data")
    with pytest.raises(SystemExit) as end:
        prepare.main(words_of(line.text)[1:])
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.splitlines()[-1].startswith("error: ")
    assert "usage:" not in said


@pytest.mark.parametrize("line", chosen("make"))
def test_it_is_a_target(line: Line) -> None:
    subprocess.run([*shlex.split(line.text), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("test", sorted({*ELSEWHERE.values(), *SCRIPTS.values(), *PAGES_ELSEWHERE.values()}))
def test_it_has_a_test_of_its_own(test: str) -> None:
    file, _, name = test.partition("::")
    found = list((ROOT / "tests").rglob(file))
    assert any(f"def {name or 'test_'}" in path.read_text(encoding="utf-8") for path in found)


@pytest.mark.parametrize(("page", "language"), PAGES_ELSEWHERE)
def test_the_test_of_a_page_reads_it(page: str, language: str) -> None:
    file = PAGES_ELSEWHERE[page, language].partition("::")[0]
    (path,) = (ROOT / "tests").rglob(file)
    assert Path(page).name in path.read_text(encoding="utf-8")
    assert any((block.page, block.language) == (page, language) for block in ALL_BLOCKS)


def test_no_exception_is_stale() -> None:
    texts = {line.text for page in PAGES for line in lines(page)}
    scripts = {found for text in texts for found in re.findall(r"python -m (scripts\.[\w.]+)", text)}
    assert {*ADDED, *ELSEWHERE, *COMPOSED, *NOT_RUN} - texts == set()
    assert set(SCRIPTS) - scripts == set()


def test_all_kinds_of_lines_are_found() -> None:
    kinds = {category(line) for line in ALL_LINES}
    assert kinds == {"page", "elsewhere", "not run", "make", "composed", "parsed", "run"}
    assert len(ALL_LINES) > 100


def python_pages() -> list[Any]:
    pages = {block.page for block in ALL_BLOCKS if block.language == "python"}
    return [page for page in sorted(pages) if (page, "python") not in PAGES_ELSEWHERE]


@pytest.mark.parametrize("page", python_pages())
def test_the_python_runs(page: str, reader: Any) -> None:
    """The blocks of a page, one after the other, in one namespace."""
    names: dict[str, Any] = {}
    for number, block in enumerate((b for b in ALL_BLOCKS if (b.page, b.language) == (page, "python")), start=1):
        exec(compile(block.text, f"block {number} of {page}", "exec"), names)


@pytest.mark.parametrize("block", [b for b in ALL_BLOCKS if b.language not in (*SHELL, "python")], ids=lambda b: b.page)
def test_other_blocks_are_what_they_say(block: Block) -> None:
    assert block.language in (*NO_CODE, "yaml"), f"{block.page}: nothing runs a block of '{block.language}'"
    if block.language == "yaml":
        assert yaml.safe_load(block.text)
    if block.language == "json":
        json.loads(block.text)


def test_the_extras_exist() -> None:
    """``pip install '.[demo]'`` and the like; the name is not on PyPI yet, so no text installs it from there."""
    section = (
        (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]\n")[2].partition("\n\n")[0]
    )
    extras = re.findall(r"^(\w+) = ", section, re.MULTILINE)
    texts = [*PAGES, *(ROOT / "opsnet").rglob("*.py"), *(ROOT / "conf").rglob("*.yaml"), *ROOT.glob("docs/*/*.ipynb")]
    for path in texts:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"pip install (-\S+ )*'?opsnet\b(?!` finds nothing)", text), path
        for named in re.findall(r"'\.\[([\w,]+)\]'", text):
            assert set(named.split(",")) <= set(extras), path
