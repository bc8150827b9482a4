"""Panoptic pictures in COCO's format: COCO, ADE20K, Cityscapes, the embedded world, or your own.

A json lists pictures and their segments; one RGB PNG a picture holds the segment of every pixel as
``id = R + 256 G + 65536 B``, 0 = void (Kirillov et al. 2019; https://cocodataset.org/#format-data).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from opsnet.data.pictures import to_rgb
from opsnet.errors import InputError
from opsnet.structures import PanopticTruth, Segment
from opsnet.vocabulary import Vocabulary

T = TypeVar("T")
Transform = Callable[[tv_tensors.Image, tv_tensors.Mask], tuple[Tensor, Tensor]]
MAX_ID = 256**3  # ids from here on do not fit into an RGB PNG
QUIET_BELOW = 500  # checking fewer pictures takes a moment, and a progress bar would only flicker


class DatasetError(InputError):
    """A data set that cannot be used as it is; the message names the file or key, and the fix."""


@dataclass(frozen=True)
class Sample:
    """One picture with its targets.

    Attributes:
        image: (3, H, W) RGB, uint8 in 0..255 or float in 0..1.
        masks: (G, H, W) bool, one a segment without crowd, none of them empty; G may be 0 after a crop.
        labels: (G,) int64, indices into the vocabulary.
        truth: for scoring: ids and all segments, crowd included, at the size on disk, before any transform.
        image_id: the id in the json.
    """

    image: Tensor
    masks: Tensor
    labels: Tensor
    truth: PanopticTruth
    image_id: int | str


@dataclass(frozen=True)
class _Entry:
    """What the json says of a picture. ``segments``: (S, 3) int64 rows of id, label, is-crowd, by rising id.

    An array instead of the json's dicts, because worker processes copy every page of Python objects that they touch.
    """

    image_id: int | str
    image: str
    png: str
    segments: NDArray[np.int64]


class PanopticDataset(Dataset[Sample]):
    """Pictures of a COCO-panoptic json, in its order; pictures without an annotation are left out.

    Args:
        images: folder of the pictures.
        annotations: the panoptic json.
        segments: folder of the PNGs; by default the json's path without ``.json``.
        vocabulary: the labels' vocabulary, or what ``Vocabulary.load`` takes.
        transform: (image (3, H, W), segment numbers (H, W)) -> the same, e.g. ``TrainTransform``.
        limit: use the first so many annotations only.

    Raises:
        DatasetError: anything in the json contradicts itself or the vocabulary, or a file it names is missing.
    """

    def __init__(
        self,
        *,
        images: Path | str,
        annotations: Path | str,
        segments: Path | str | None = None,
        vocabulary: Vocabulary | str,
        transform: Transform | None = None,
        limit: int | None = None,
    ) -> None:
        if limit is not None and limit < 1:
            raise DatasetError(f"limit must be at least 1 or null for all pictures, got {limit}: change `limit`")
        self.vocabulary = vocabulary if isinstance(vocabulary, Vocabulary) else Vocabulary.load(vocabulary)
        self.transform = transform
        self.annotations = Path(annotations).expanduser()
        self.images = Path(images).expanduser()
        self.segments = Path(segments).expanduser() if segments is not None else self.annotations.with_suffix("")
        self._entries = _read_entries(self.annotations, self.vocabulary, limit)
        _require_files(self.images, [e.image for e in self._entries], self.annotations, "images")
        _require_files(self.segments, [e.png for e in self._entries], self.annotations, "segments")

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Sample:
        entry = self._entries[index]
        ids = self._read_ids(entry)
        image = _read_image(self.images / entry.image)
        if image.shape[-2:] != ids.shape:
            raise DatasetError(
                f"picture {self.images / entry.image} is {image.shape[2]} x {image.shape[1]}, but its segments "
                f"{self.segments / entry.png} are {ids.shape[1]} x {ids.shape[0]}: give both the same size"
            )
        rows, areas = self._locate(entry, ids)
        image, masks, labels = self._targets(entry, image, rows)
        things = self.vocabulary.is_thing
        truth = PanopticTruth(
            ids=torch.from_numpy(ids.astype(np.int64)),
            segments=tuple(
                Segment(id=i, label=label, is_thing=things[label], area=area, is_crowd=bool(crowd))
                for (i, label, crowd), area in zip(entry.segments.tolist(), areas.tolist(), strict=True)
            ),
        )
        return Sample(image=image, masks=masks, labels=labels, truth=truth, image_id=entry.image_id)

    def check_pixels(self, shard: tuple[int, int] = (0, 1)) -> None:
        """Reads every PNG and compares its ids with the json; shows progress for long sets.

        Args:
            shard: (rank, world size): this process checks every world-size-th picture, beginning with its rank.

        Raises:
            DatasetError: ids of a PNG and of the json differ, or a PNG cannot be read.
        """
        from rich.console import Console
        from rich.progress import track

        rank, world_size = shard
        entries = self._entries[rank::world_size]
        # Threads, because decoding leaves Python's lock; leaving the pool's block early drops what waits.
        with ThreadPool(min(8, os.cpu_count() or 1)) as pool:
            done = pool.imap_unordered(lambda entry: self._locate(entry, self._read_ids(entry)), entries)
            for _ in track(
                done,
                description=f"Checking {self.annotations.name}",
                total=len(entries),
                console=Console(stderr=True),
                disable=rank > 0 or len(entries) < QUIET_BELOW,
            ):
                pass

    def _targets(self, entry: _Entry, image: tv_tensors.Image, rows: NDArray[np.intp]) -> tuple[Tensor, Tensor, Tensor]:
        """Image, masks (G, H, W) and labels (G,) after the transform.

        The transform sees one map of segment numbers, not G masks: resizing one plane is G times cheaper, and cannot
        make two masks overlap.
        """
        kept = np.flatnonzero(entry.segments[:, 2] == 0)
        numbers = np.zeros(len(entry.segments) + 1, dtype=np.int32)  # 0 = void and crowd
        numbers[1 + kept] = 1 + np.arange(len(kept))
        plane: Tensor = tv_tensors.Mask(torch.from_numpy(numbers[rows]))
        moved: Tensor = image
        if self.transform is not None:
            moved, plane = self.transform(image, plane)
        # NumPy, because its broadcast comparison takes a tenth of torch's time on the CPU; visible numbers come first.
        pixels = plane.as_subclass(Tensor).numpy()
        visible = np.flatnonzero(np.bincount(pixels.ravel(), minlength=len(kept) + 1)[1:])
        masks = torch.from_numpy(pixels == (1 + visible).astype(pixels.dtype)[:, None, None])
        return moved.as_subclass(Tensor), masks, torch.from_numpy(entry.segments[kept[visible], 1])

    def _read_ids(self, entry: _Entry) -> NDArray[np.int32]:
        """Segment ids (H, W) of a picture."""
        path = self.segments / entry.png
        png = _open(path)
        if png.mode not in ("RGB", "RGBA", "P"):
            raise DatasetError(f"{path} has colour mode {png.mode}, not RGB: write ids as R + 256 G + 65536 B")
        red, green, blue = np.moveaxis(np.asarray(png.convert("RGB"), dtype=np.int32), -1, 0)
        ids: NDArray[np.int32] = red + (green << 8) + (blue << 16)
        return ids

    def _locate(self, entry: _Entry, ids: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Row of every pixel's segment, counted from 1 with 0 for void, (H, W); and each segment's pixels, (S,).

        Raises:
            DatasetError: json and PNG do not hold the same ids.
        """
        where = f"image {entry.image_id} of {self.annotations}"
        known = np.concatenate([[0], entry.segments[:, 0]]).astype(np.int32)
        rows = np.searchsorted(known, ids)
        found = known[np.minimum(rows, len(known) - 1)]
        if not np.array_equal(found, ids):
            unknown = ids[found != ids].min()
            raise DatasetError(
                f"{self.segments / entry.png} holds segment id {unknown}, which is not in segments_info of {where}: "
                "list the segment there, or paint it 0 (void)"
            )
        areas = np.bincount(rows.ravel(), minlength=len(known))[1:]
        if not areas.all():
            missing = known[1:][areas == 0][0]
            raise DatasetError(
                f"segment id {missing} of {where} has no pixel in {self.segments / entry.png}: "
                "remove the segment from segments_info, or replace the PNG"
            )
        return rows, areas


def _read_entries(path: Path, vocabulary: Vocabulary, limit: int | None) -> list[_Entry]:
    """The json's annotations, checked against the vocabulary."""
    if not path.is_file():
        raise DatasetError(f"panoptic json {path} does not exist: check `annotations`")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        names = {_image_id(image["id"]): str(image["file_name"]) for image in data["images"]}
        _check_kinds(path, data.get("categories", []), vocabulary)
        records = data["annotations"][:limit]
        entries = [_read_entry(path, record, names, vocabulary) for record in records]
    except DatasetError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{path} is not a COCO panoptic json ({type(error).__name__}: {error}): it needs images[id, file_name] and "
            "annotations[image_id, file_name, segments_info[id, category_id]]"
        ) from error
    if not entries:
        raise DatasetError(f"{path} has no annotations: check `annotations`")
    if twice := _repeated(entry.image_id for entry in entries):
        raise DatasetError(f"{path} annotates image {twice[0]} twice: remove one of its annotations")
    return entries


def _read_entry(path: Path, record: dict[str, Any], names: dict[int | str, str], vocabulary: Vocabulary) -> _Entry:
    image_id = _image_id(record["image_id"])
    if image_id not in names:
        raise DatasetError(f"{path} annotates image {image_id}, which is not in its `images`: add it or drop both")
    rows = []
    for segment in record["segments_info"]:
        category = int(segment["category_id"])
        if category not in vocabulary.index_of_id:
            raise DatasetError(
                f"image {image_id} of {path} has category_id {category}, which vocabulary '{vocabulary.name}' lacks: "
                "add the category to it, or set `vocabulary` to the one of this data set"
            )
        rows.append((int(segment["id"]), vocabulary.index_of_id[category], int(segment.get("iscrowd", 0))))
    for segment_id, _, _ in rows:
        if not 0 < segment_id < MAX_ID:
            raise DatasetError(
                f"image {image_id} of {path} has segment id {segment_id}: ids must lie in 1..{MAX_ID - 1} (0 is void)"
            )
    if twice := _repeated(row[0] for row in rows):
        raise DatasetError(f"image {image_id} of {path} has segment id {twice[0]} twice: give each segment its own id")
    segments = np.array(sorted(rows), dtype=np.int64).reshape(-1, 3)
    return _Entry(image_id, names[image_id], str(record["file_name"]), segments)


def _image_id(value: int | str) -> int | str:
    """COCO's are numbers, perhaps written as text; Cityscapes' are names."""
    return int(value) if isinstance(value, int) or value.isdigit() else value


def _check_kinds(path: Path, categories: list[dict[str, Any]], vocabulary: Vocabulary) -> None:
    """Things of the json must be things of the vocabulary: ids of two sets overlap, so ids alone would not tell."""
    for category in categories:
        label = vocabulary.index_of_id.get(int(category["id"]))
        if label is not None and "isthing" in category and bool(category["isthing"]) != vocabulary.is_thing[label]:
            raise DatasetError(
                f"category {category['id']} of {path} ('{category.get('name')}', isthing {category['isthing']}) is "
                f"'{vocabulary.names[label]}', isthing {int(vocabulary.is_thing[label])}, in vocabulary "
                f"'{vocabulary.name}': set `vocabulary` to the one of this data set"
            )


def _require_files(folder: Path, names: list[str], source: Path, key: str) -> None:
    """All files exist. One listing a folder: a stat a file takes minutes on network disks."""
    if not folder.is_dir():
        raise DatasetError(f"folder {folder} does not exist: check `{key}`")
    parents = {os.path.dirname(name) for name in names}
    listed = {p: set(os.listdir(folder / p)) if (folder / p).is_dir() else set() for p in parents}
    missing = [name for name in names if os.path.basename(name) not in listed[os.path.dirname(name)]]
    if missing:
        raise DatasetError(
            f"{missing[0]}, named in {source}, is not in {folder} ({len(missing)} of {len(names)} files are missing): "
            f"check `{key}`, or complete the folder"
        )


def _read_image(path: Path) -> tv_tensors.Image:
    """(3, H, W) uint8."""
    image: tv_tensors.Image = tv_tensors.Image(torch.from_numpy(to_rgb(_open(path))).permute(2, 0, 1).contiguous())
    return image


def _open(path: Path) -> Image.Image:
    """A decoded picture; its file is closed again."""
    try:
        picture: Image.Image
        with Image.open(path) as picture:
            picture.load()
            return picture
    except OSError as error:
        raise DatasetError(f"{path} cannot be read as a picture ({error}): replace the file") from error


def _repeated(values: Iterable[T]) -> list[T]:
    """Values that occurred before, in order."""
    seen: set[T] = set()
    return [v for v in values if v in seen or seen.add(v)]  # type: ignore[func-returns-value]
