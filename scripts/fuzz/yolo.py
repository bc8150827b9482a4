"""Ultralytics' segmentation sets, as ``opsnet-prepare own yolo`` reads them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random

from opsnet.preparation.own_yolo import prepare_yolo
from scripts.fuzz import converted, seeds
from scripts.fuzz.cases import Case
from scripts.fuzz.mutation import damaged_text, several

NAMES = converted.NAMES
ROWS = "0 0.1 0.1 0.9 0.1 0.9 0.5\n1 0 0.5 1 0.5 1 1 0 1\n"
DATA = "path: .\ntrain: images/train\nnames:\n  0: cat\n  1: sky\n"
_WORDS = (
    "nan", "inf", "-1", "2", "1e308", "9" * 400, "0.5", "x", "", "٣", "1_0", "0x1", "&a", "*a", "<<: *a", "[[[[", "{",
    "!!python/object/apply:os.system [id]", "null", "~", "a: &a [*a, *a]", "..", "../../opsnet_canary", "/etc",
    "images", "é",
    "'", "- 1", "? x", "2024-99-99", "0:", "true", "1:2:3", "%YAML 9.9", "---", "\t", "\x85", "a" * 300,
)  # fmt: skip
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi")
)


def case(seed: int) -> Case:
    """A data.yaml, or a folder with classes.txt, and the rows of one image; words are replaced by others."""
    rng = Random(seed)
    source = rng.choice(["data.yaml", "data.yaml", ""])
    rows, data, classes = ROWS, DATA, "cat\nsky\n"
    if rng.random() < 0.5:
        rows = changed_words(rng, rows)
    elif source:
        data = changed_words(rng, data)
    else:
        classes = changed_words(rng, classes)
    files = {"labels/train/a.txt": rows.encode(), "images/train/a.png": seeds.photo()}
    files |= {"data.yaml": data.encode()} if source else {"classes.txt": classes.encode()}
    name = rng.choice(sorted(files))
    if rng.random() < 0.15 and not name.endswith(".png"):
        files[name] = damaged_text(rng, files[name].decode())
    if source and rng.random() < 0.03:
        files["data.yaml"] = (BOMB + DATA.replace("cat", "*i")).encode()
    return Case(files, {"source": source, "skip_without_mask": rng.random() < 0.3})


def changed_words(rng: Random, text: str) -> str:
    """A text in which words or whitespace are replaced, removed or repeated."""
    for _ in range(several(rng)):
        words = text.split(" ")
        place = rng.randrange(len(words))
        kind = rng.randrange(4)
        if kind == 0:
            words[place] = rng.choice(_WORDS)
        elif kind == 1:
            words.insert(place, rng.choice(_WORDS))
        elif kind == 2:
            del words[place]
        else:
            words[place] += rng.choice(["\n", ":", ",", "#", "\r\n", "\0", "  ", "\n\n  "]) + rng.choice(_WORDS)
        text = " ".join(words)
    return text


def run(given: Case, folder: Path) -> None:
    """Converts the set and reads it back."""
    given.write(folder)
    source = folder / given.arguments["source"]
    skip = given.arguments["skip_without_mask"]
    converted.convert(partial(prepare_yolo, source, skip_without_mask=skip), folder)
