"""Images with image-level labels: ImageNet-Val under ReaL (Beyer et al. 2020), or your own (paper, section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from opsnet.data.images import read_rgb, require_limit
from opsnet.data.packed import PackedRecords
from opsnet.data.transforms import Transform, as_image
from opsnet.utils.errors import DatasetError
from opsnet.utils.paths import user_path
from opsnet.utils.structured_files import FileError, read_json
from opsnet.vocabulary import Vocabulary

REAL_IMAGES = 50_000  # of ImageNet-Val


@dataclass(frozen=True)
class LabelledSample:
    """One image with its image-level labels.

    Attributes:
        image: (3, H, W) RGB, uint8 in 0..255 or float in 0..1.
        labels: int64, at least one, indices into the vocabulary.
        image_id: its file name, or its key in a shard.
    """

    image: Tensor
    labels: Tensor
    image_id: str


class LabelledImages(Dataset[LabelledSample]):
    """What all sets of images with image-level labels share.

    Args:
        vocabulary: the vocabulary that the labels index.
        transform: (image (3, H, W), segment indices (H, W)) -> the same; here all indices are 0.

    Attributes:
        unlabelled: number of images that are left out, because they have no label.
    """

    unlabelled: int

    def __init__(self, vocabulary: Vocabulary, transform: Transform | None) -> None:
        self.vocabulary, self.transform = vocabulary, transform

    def __len__(self) -> int:
        raise NotImplementedError

    def labels_of(self, index: int) -> list[int]:
        """Labels of an image in ascending order, without reading it."""
        raise NotImplementedError

    def name_of(self, index: int) -> str:
        """An image as messages name it."""
        raise NotImplementedError

    def read(self, index: int) -> tuple[NDArray[np.uint8], str]:
        """An image, RGB (H, W, 3), and its id.

        Raises:
            DatasetError: it cannot be read.
        """
        raise NotImplementedError

    def __getitem__(self, index: int) -> LabelledSample:
        pixels, image_id = self.read(index)
        image: Tensor = as_image(pixels)
        if self.transform is not None:
            nothing = tv_tensors.Mask(torch.zeros(image.shape[-2:], dtype=torch.int32))
            image, _ = self.transform(image, nothing)
        return LabelledSample(image.as_subclass(Tensor), torch.tensor(self.labels_of(index)), image_id)


class ImageLabelDataset(LabelledImages):
    """The labelled images of a folder, in the order of their file names; images without a label are skipped.

    Args:
        images: the folder; subfolders (for example one per class) are searched too.
        labels: json list with one list of labels per image of the folder, in the order of file names; ``None``: ReaL's
            labels of ImageNet-Val, which ship with timm.
        vocabulary: the vocabulary that the labels index, or any argument of ``Vocabulary.load``.
        transform: (image (3, H, W), segment indices (H, W)) -> the same; here all indices are 0.
        limit: use only the first ``limit`` images of the folder.

    Attributes:
        unlabelled: number of images in the folder without a label, 3,163 with ReaL.

    Raises:
        DatasetError: folder and labels differ in length, a label is not in the vocabulary, or no image has a label.
    """

    def __init__(
        self,
        *,
        images: Path | str,
        labels: Path | str | None = None,
        vocabulary: Vocabulary | str = "imagenet1k",
        transform: Transform | None = None,
        limit: int | None = None,
    ) -> None:
        require_limit(limit)
        super().__init__(Vocabulary.load(vocabulary), transform)
        self.images = user_path(images)
        source = user_path(labels) if labels is not None else None
        files, lists = _image_files(self.images), _real_lists() if source is None else _read_lists(source)
        origin = source or "ReaL (timm)"
        if len(files) != len(lists):
            raise DatasetError(
                f"folder {self.images} holds {len(files)} images, but {origin} labels {len(lists)}: "
                "complete the folder (including subfolders), or give the matching `labels`"
            )
        pairs = list(zip(files, lists, strict=True))[:limit]
        for file, found in pairs:
            _check_labels(found, len(self.vocabulary), f"image {file} of {origin}", self.vocabulary.name)
        self._records = PackedRecords((file, sorted(set(found))) for file, found in pairs if found)
        self.unlabelled = len(pairs) - len(self._records)
        if not len(self._records):
            raise DatasetError(f"no image of {self.images} has a label in {origin}: check `labels` and `limit`")

    def __len__(self) -> int:
        return len(self._records)

    def labels_of(self, index: int) -> list[int]:
        """Labels of an image in ascending order, without reading the file."""
        labels: list[int] = self._records[index][1]
        return labels

    def name_of(self, index: int) -> str:
        """Its file name."""
        return self._path(index).name

    def read(self, index: int) -> tuple[NDArray[np.uint8], str]:
        """An image, RGB (H, W, 3), and its file name.

        Raises:
            DatasetError: it cannot be read.
        """
        path = self._path(index)
        return read_rgb(path), path.name

    def _path(self, index: int) -> Path:
        return self.images / str(self._records[index][0])


def _image_files(folder: Path) -> list[str]:
    """Relative paths of all images in ``folder``, sorted by file name: ReaL's order, with or without class folders."""
    if not folder.is_dir():
        raise DatasetError(f"folder {folder} does not exist: check `images`")
    endings = Image.registered_extensions()
    files = [p for p in folder.rglob("*") if p.suffix.lower() in endings]
    return [str(p.relative_to(folder)) for p in sorted(files, key=lambda p: p.name)]


def _real_lists() -> list[list[int]]:
    from timm.data import RealLabelsImagenet

    return list(RealLabelsImagenet([""] * REAL_IMAGES).real_labels.values())


def _read_lists(path: Path) -> list[list[int]]:
    try:
        lists: Any = read_json(path)
    except FileError as error:
        raise DatasetError(f"labels {path} {error}") from error
    if not isinstance(lists, list) or not all(isinstance(found, list) for found in lists):
        raise DatasetError(f"labels {path} are not a list of lists: write one list of label indices per image")
    return lists


def _check_labels(found: list[Any], size: int, where: str, vocabulary: str) -> None:
    for label in found:
        if not isinstance(label, int) or not 0 <= label < size:
            raise DatasetError(
                f"{where} has label {label!r}, but vocabulary '{vocabulary}' numbers its names 0 to {size - 1}: "
                "set `vocabulary` to the one these labels index"
            )
