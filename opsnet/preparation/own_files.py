"""What the kinds of own labels share about files: which pictures a folder has, how large one is, what a json holds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from opsnet.data import images
from opsnet.utils.errors import InputError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def files_by_stem(folder: Path, suffixes: Iterable[str]) -> dict[str, Path]:
    """Path below ``folder`` without suffix -> file, in the order of the names; hidden files are left out.

    Raises:
        InputError: there is no such folder, it has no such file, or two files differ in their suffix alone.
    """
    if not folder.is_dir():
        raise InputError(f"folder {folder} does not exist: check the path")
    suffixes = set(suffixes)
    found = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in suffixes and p.is_file()]
    paths = [p.relative_to(folder) for p in found]
    files = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
    if not files:
        raise InputError(f"folder {folder} has no {', '.join(sorted(suffixes))} file: check the path")
    refuse_same_stems(files, str(folder))
    return {stem_of(path): folder / path for path in files}


def stem_of(path: Path) -> str:
    """``a/b.jpg`` -> ``a/b``."""
    return path.with_suffix("").as_posix()


def refuse_same_stems(paths: Iterable[Path], where: str) -> None:
    """The PNG that is written for a picture is named by its stem, and a number as stem is read as a number.

    Raises:
        InputError: two stems are the same, or the same number.
    """
    seen: dict[str | int, Path] = {}
    for path in paths:
        stem = stem_of(path)
        other = seen.setdefault(int(stem) if stem.isdecimal() else stem, path)
        if other is not path:
            raise InputError(f"{where} has {other} and {path}, which would get one name: rename or remove one of them")


def read_json(path: Path) -> Any:
    """What the file holds.

    Raises:
        InputError: it is missing, or no json.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: check the path")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise InputError(f"{path} is not a json file ({error}): replace it") from error


def upright_size(picture: Path) -> tuple[int, int]:
    """Width and height as a person sees it: EXIF may say that it is to be turned.

    Raises:
        InputError: it is no picture.
    """
    try:
        with Image.open(picture) as opened:
            return images.upright_size(opened)
    except OSError as error:
        raise InputError(f"{picture} cannot be read as a picture ({error}): replace the file") from error


def require_size(labels: str, size: tuple[int, int], picture: Path) -> None:
    """Labels of (width, height) belong to the upright picture.

    Raises:
        InputError: they do not.
    """
    upright = upright_size(picture)
    if size == upright:
        return
    with Image.open(picture) as opened:
        stored = opened.size
    fix = "give both the same size"
    if stored != upright and size == stored:
        fix = "EXIF turns the picture, and its labels lie as if it did not; turn them, or remove the tag Orientation"
    raise InputError(
        f"{labels} is {size[0]} x {size[1]} (width x height), but its picture {picture} is "
        f"{upright[0]} x {upright[1]}: {fix}"
    )
