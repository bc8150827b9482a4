"""Where images come from: one or several in memory, files, lists of files, addresses, folders, patterns, tar shards and
videos. The command, the Python API and the tests of both read images here only."""

from __future__ import annotations

import glob
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from torch import Tensor

from opsnet.prediction.images import ImageLike, SourceImage, to_pixels
from opsnet.prediction.shards import SUFFIX as SHARD_SUFFIX
from opsnet.prediction.shards import shard_images
from opsnet.prediction.video import SUFFIXES as VIDEO_SUFFIXES
from opsnet.prediction.video import Video
from opsnet.prediction.web_images import is_url
from opsnet.utils.errors import InputError
from opsnet.utils.files import printable

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
"""Suffixes of the image files that are used from a folder."""

LIST_SUFFIX = ".txt"
"""Suffix of a file that lists images, a path per line."""

MOST_LOOKED_AT = 20_000
"""Files that are looked at in the subfolders of a folder without images."""

UNNAMED = "image.png"
"""The name of an image that has none."""

Loader = Callable[[], SourceImage]


@dataclass(frozen=True)
class ImageSource:
    """Images that are read one by one.

    Attributes:
        loaders: one function per image, which reads it, or raises :class:`InputError` if it cannot be read.
        count: number of images, if it is known.
        is_one: a single image was given.
        is_stream: a folder, a list, a pattern, shards or a video were given, whose images need not fit into memory.
        paths: the paths of all images, where they are known before the images are read, see :class:`SourceImage`.
        files: the file that holds each image, or the one that holds all; none for images in memory.
    """

    loaders: Iterable[Loader]
    count: int | None
    is_one: bool = False
    is_stream: bool = False
    paths: tuple[Path, ...] = ()
    files: Sequence[Path] = ()

    def read(self) -> list[SourceImage]:
        """All images.

        Raises:
            InputError: one cannot be read.
        """
        return [load() for load in self.loaders]

    def stamp(self, number: int) -> list[int] | None:
        """Size in bytes and time of change of the file of an image; ``None`` without one."""
        with suppress(OSError, ValueError, IndexError):
            state = self.files[number if len(self.files) > 1 else 0].stat()
            return [state.st_size, state.st_mtime_ns]
        return None

    def numbered(self) -> Iterator[tuple[int, Loader]]:
        """The loaders with their numbers from 0; a damaged video ends with one that raises its error."""
        loaders = iter(self.loaders)
        for number in itertools.count():
            try:
                load = next(loaders, None)
            except InputError as error:
                load = partial(_raise, error)
            if load is None:
                return
            yield number, load

    def readable(self, skipped: Callable[[InputError], Any]) -> Iterator[SourceImage]:
        """Yields the images that can be read; ``skipped`` is called with the error of each other one."""
        for _, load in self.numbered():
            try:
                image = load()
            except InputError as error:
                skipped(error)
            else:
                yield image


def _raise(error: InputError) -> SourceImage:
    raise error


def image_source(images: ImageLike | Sequence[ImageLike]) -> ImageSource:
    """The images of any form.

    Raises:
        InputError: a folder or pattern has no images, a video cannot be read, or a text is empty. A single image is
            only read later.
    """
    if isinstance(images, (str, os.PathLike)):
        return _of_text(os.fspath(images))
    listed, is_one = as_list(images)
    names = [UNNAMED] if is_one else [f"image_{i}.png" for i in range(len(listed))]
    loaders = [partial(_load, image, name) for image, name in zip(listed, names, strict=True)]
    return ImageSource(loaders, len(loaders), is_one=is_one)


def as_list(images: ImageLike | Sequence[ImageLike]) -> tuple[list[ImageLike], bool]:
    """The images as a list, and whether there was a single one. A 4-dimensional tensor or array is several images."""
    if isinstance(images, (Tensor, np.ndarray)):
        return (list(images), False) if images.ndim == 4 else ([images], True)
    if isinstance(images, (list, tuple)):
        return list(images), False
    return [images], True


def _of_text(text: str) -> ImageSource:
    if not text.strip():
        raise InputError("image is empty: give the path of an image, a folder, a pattern or a video")
    if is_url(text):
        return _of_one(text)
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise InputError(
            f"image {printable(text)} is no name that a file can have ({error.reason}): correct it"
        ) from error
    path = Path(os.path.expanduser(text))
    if os.path.isdir(path):
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise InputError(f"image folder {path} has no images ({', '.join(SUFFIXES)}): {_below(path)}")
        return _of_files(found)
    if os.path.isfile(path) and path.suffix.lower() in VIDEO_SUFFIXES:
        video = Video.open(path)
        return ImageSource(_Frames(video), video.count, is_stream=True, files=(path,))
    if os.path.isfile(path) and path.suffix.lower() == SHARD_SUFFIX:
        return _of_shards([path])
    if os.path.isfile(path) and path.suffix.lower() == LIST_SUFFIX:
        return _of_files(_listed(path))
    if os.path.exists(path) or not glob.has_magic(str(path)):
        return _of_one(path)
    found = sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())
    if not found:
        raise InputError(f"image {path} matches no file: check the pattern")
    if all(p.suffix.lower() == SHARD_SUFFIX for p in found):
        return _of_shards(found)
    return _of_files(found)


def _below(folder: Path) -> str:
    """What to give instead of a folder without images: the pattern of those in its folders, if there are any."""
    for path in itertools.islice(folder.rglob("*"), MOST_LOOKED_AT):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            return f"give image='{folder}/**/*{path.suffix}' for those in its subfolders, such as {path}"
    return "give another"


def _of_one(image: str | Path) -> ImageSource:
    path = _path_of(image)
    return ImageSource([partial(_load, image, UNNAMED)], 1, is_one=True, paths=(path,) if path else ())


def _of_files(paths: list[Path]) -> ImageSource:
    loaders = [partial(_load, path, path.name) for path in paths]
    return ImageSource(loaders, len(paths), is_stream=True, paths=tuple(paths), files=paths)


def _of_shards(shards: list[Path]) -> ImageSource:
    images = shard_images(shards, SUFFIXES)
    loaders, paths = [image.read for image in images], tuple(image.path for image in images)
    return ImageSource(loaders, len(images), is_stream=True, paths=paths, files=[image.shard for image in images])


def _listed(path: Path) -> list[Path]:
    """The paths in a text file, one per line.

    Raises:
        InputError: it cannot be read, or lists no image, or one twice.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()]
    except OSError as error:
        raise InputError(f"list of images {path} cannot be read ({error.strerror or error})") from error
    found = [Path(line).expanduser() for line in lines if line]
    if not found:
        raise InputError(f"list of images {path} is empty: write the path of an image into each line")
    if twice := [image for image, count in Counter(found).items() if count > 1]:
        raise InputError(f"list of images {path} has {twice[0]} twice: leave one out")
    return found


@dataclass(frozen=True)
class _Same(Sequence[Path]):
    """One file, which holds all images."""

    path: Path

    def __getitem__(self, number: Any) -> Any:
        return self.path

    def __len__(self) -> int:
        return 1


@dataclass(frozen=True)
class _Frames:
    """A video's frames as loaders; they are named ``<video>_000000.png`` and so on."""

    video: Video

    def __iter__(self) -> Iterator[Loader]:
        for number, pixels in enumerate(self.video):
            yield partial(SourceImage, f"{self.video.path.stem}_{number:06d}.png", pixels)


def _load(image: ImageLike, name: str) -> SourceImage:
    if isinstance(image, SourceImage):
        return image
    path = _path_of(image)
    return SourceImage(path.name if path else name, to_pixels(image), path)


def _path_of(image: ImageLike) -> Path | None:
    """The path of a :class:`SourceImage`, ``None`` for an image without a name."""
    if isinstance(image, (str, os.PathLike)) and not is_url(os.fspath(image)):
        return Path(image)
    is_address = isinstance(image, str)
    try:
        name = (
            unquote(urlsplit(image).path) if is_address else str(getattr(image, "filename", ""))
        )  # Pillow remembers it
    except ValueError as error:
        raise InputError(f"image {image} is no valid address ({error}): correct it") from error
    return Path(Path(name).name) if Path(name).name else None
