"""Images in tar files, as WebDataset's shards are: read where they lie in the file, nothing is extracted.

Nothing in a tar is trusted. Only regular members named as images are read; links, devices and folders are passed over,
names are texts that never become paths, and sizes are limited as for downloads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from opsnet.data.images import decode_rgb
from opsnet.data.tar_members import BoundedFile, TarDamageError, tar_members
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
        with BoundedFile(shard) as file:
            for member in tar_members(file):
                if not member.isreg() or member.issparse() or "\0" in member.name:
                    continue
                name = PurePosixPath(*(part for part in member.name.split("/") if part not in ("", ".", "..")))
                if name.suffix.lower() in suffixes:
                    yield ShardImage(shard, str(name), member.offset_data, member.size)
    except TarDamageError as error:
        raise InputError(f"shard {shard} {error}: replace it") from error
    except Exception as error:  # tarfile raises whatever its parsing stumbles over
        raise InputError(
            f"shard {shard} cannot be read as a tar without compression ({error}): unpack or replace it"
        ) from error
