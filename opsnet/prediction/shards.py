"""Images in tar files, as WebDataset's shards are: read where they lie in the file, nothing is extracted.

Nothing in a tar is trusted. Only regular members named as images are read; links, devices and folders are passed over,
names are texts that never become paths, and sizes are limited as for downloads.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from opsnet.data.images import decode_rgb
from opsnet.prediction.images import SourceImage
from opsnet.prediction.web_images import LARGEST
from opsnet.utils.errors import InputError

SUFFIX = ".tar"


@dataclass(frozen=True)
class ShardImage:
    """An image in a tar.

    Attributes:
        shard: the tar.
        name: its name in the tar, without what would lead out of it: "val/000000000139.jpg".
        offset, size: where its bytes are.
    """

    shard: Path
    name: str
    offset: int
    size: int

    @property
    def path(self) -> Path:
        """What stands for its path: the name below that of the tar; there is no such file."""
        return self.shard / self.name

    def read(self) -> SourceImage:
        """Decodes it.

        Raises:
            InputError: it is too large, damaged, or no image.
        """
        title = f"image {self.name} of {self.shard}"
        if self.size > LARGEST:
            raise InputError(f"{title} is larger than {LARGEST / 1e6:.0f} MB: make it smaller")
        try:
            with self.shard.open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.size)
        except OSError as error:
            raise InputError(f"{title} cannot be read ({error.strerror or error})") from error
        return SourceImage(self.path.name, decode_rgb(content, title), self.path)


def shard_images(shards: list[Path], suffixes: tuple[str, ...]) -> list[ShardImage]:
    """The images of all shards, in the order of their members; reads only the headers.

    Args:
        shards: tar files.
        suffixes: those of images, in lower case.

    Raises:
        InputError: a file is no tar, is compressed or damaged, has a name twice, or none has images.
    """
    found: dict[Path, ShardImage] = {}
    for shard in shards:
        for image in _members(shard, suffixes):
            if found.setdefault(image.path, image) is not image:
                raise InputError(f"shard {shard} has {image.name} twice: leave one out")
    if not found:
        raise InputError(f"shard {shards[0]} has no images ({', '.join(suffixes)}): give another")
    return list(found.values())


def _members(shard: Path, suffixes: tuple[str, ...]) -> Iterator[ShardImage]:
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile would hold all of them in memory
                if member.size < 0:  # Python before 3.11.14 would read this member again and again
                    raise tarfile.ReadError("a member has a size below 0")
                if not member.isreg() or member.issparse() or "\0" in member.name:
                    continue
                name = PurePosixPath(*(part for part in member.name.split("/") if part not in ("", ".", "..")))
                if name.suffix.lower() in suffixes:
                    yield ShardImage(shard, str(name), member.offset_data, member.size)
            _require_end(tar)
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
        raise InputError(
            f"shard {shard} cannot be read as a tar without compression ({error}): unpack or replace it"
        ) from error


def _require_end(tar: tarfile.TarFile) -> None:
    """Checks that a tar ends where its members do: tarfile takes a damaged header after the first for the end.

    Raises:
        tarfile.ReadError: there is something else.
    """
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"the header at byte {tar.offset} is damaged")
