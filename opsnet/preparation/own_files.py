"""File helpers for all kinds of own labels: the images of a folder, the size of an image, the content of a json."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from opsnet.data import images
from opsnet.utils import structured_files
from opsnet.utils.errors import InputError
from opsnet.utils.json_fields import FieldError, field, whole

T = TypeVar("T")

QUIET_BELOW = 200  # items that are read in a moment
LARGEST_TEXT = 256 * 2**20  # bytes; the labels of an image, or the names of a set
IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def files_by_stem(folder: Path, suffixes: Iterable[str]) -> dict[str, Path]:
    """Path below ``folder`` without suffix -> file, sorted by name; hidden files are skipped.

    Raises:
        InputError: the folder does not exist, has no such file, or has two files that differ only in their suffix.
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
    """Checks that stems are unique, since they name the PNGs; numeric stems are compared as numbers.

    Raises:
        InputError: two stems are the same, or the same number.
    """
    seen: dict[str | int, Path] = {}
    for path in paths:
        stem = stem_of(path)
        other = seen.setdefault(int(stem) if stem.isdecimal() else stem, path)
        if other is not path:
            raise InputError(
                f"{where} has {other} and {path}, which would get the same name: rename or remove one of them"
            )


def read_json(path: Path) -> Any:
    """The content of a json file.

    Raises:
        InputError: the file is missing or not json.
    """
    try:
        return structured_files.read_json(path)
    except structured_files.FileError as error:
        raise InputError(f"{path} {error}") from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file in UTF-8, without blank ones at its end.

    Raises:
        InputError: the file is missing, too large or not UTF-8.
    """
    try:
        return structured_files.read_text(path, LARGEST_TEXT).rstrip().splitlines()
    except structured_files.FileError as error:
        raise InputError(f"{path} {error}") from error


def read_once(parse: Callable[[Path], T]) -> Callable[[Path], T]:
    """Wraps the reader of a file of many images, so that each process reads the file only once, unless it changes.

    Forked worker processes inherit what their parent has read.
    """

    @lru_cache(maxsize=2)
    def version(path: Path, modified: int, size: int) -> T:
        return parse(path)

    def read(path: Path) -> T:
        if not path.is_file():
            raise InputError(f"{path} does not exist: check the path")
        status = path.stat()
        return version(path, status.st_mtime_ns, status.st_size)

    return read


def upright_size(image: Path) -> tuple[int, int]:
    """Width and height of an image after applying its EXIF orientation.

    Raises:
        InputError: the file is not an image.
    """
    try:
        with Image.open(image) as opened:
            return images.upright_size(opened)
    except Exception as error:  # Pillow's readers raise whatever their parsing stumbles over, SyntaxError included
        raise InputError(f"{image} cannot be read as an image ({error}): replace the file") from error


def stored_size(record: Any, where: str, width: str = "width", height: str = "height") -> tuple[int, int] | None:
    """The size of an image that a tool wrote into its labels; None if it lacks or has 0 or null.

    Raises:
        InputError: it is not two whole numbers; the message begins with ``where``.
    """
    try:
        size = field(record, width, _pixels, 0), field(record, height, _pixels, 0)
    except FieldError as error:
        raise InputError(f"{where}: {error}") from error
    return size if all(size) else None


def _pixels(value: Any) -> int:
    if value is None:
        return 0
    if (pixels := whole(value)) < 0:
        raise TypeError("a number of pixels")
    return pixels


def progress(items: Sequence[T], title: str) -> Iterator[T]:
    """Yields the items, with a progress bar on stderr if there are many."""
    from rich.console import Console
    from rich.progress import track

    yield from track(items, title, console=Console(stderr=True), disable=len(items) < QUIET_BELOW)


def require_size(labels: str, size: tuple[int, int], image: Path) -> None:
    """Checks that labels have the size (width, height) of the upright image.

    Raises:
        InputError: they do not.
    """
    upright = upright_size(image)
    if size == upright:
        return
    with Image.open(image) as opened:
        stored = opened.size
    fix = "give both the same size"
    if stored != upright and size == stored:
        fix = "the labels ignore its EXIF orientation; rotate them, or remove the Orientation tag"
    raise InputError(
        f"{labels} is {size[0]} x {size[1]} (width x height), but its image {image} is "
        f"{upright[0]} x {upright[1]}: {fix}"
    )
