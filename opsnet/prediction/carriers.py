"""Results of prediction: panoptic maps whose segments have class names, scores and boxes."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from opsnet.prediction import formats
from opsnet.prediction.images import ImageLike, to_pixels
from opsnet.structures import PanopticMap, Segment
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary

if TYPE_CHECKING:
    import pandas
    import supervision
    from PIL import Image

UNKNOWN = "unknown"
MaskId: TypeAlias = int | str
REASONS = ("empty", "covered", "score")
"""Why a given mask is in no segment: it has no pixel, others are in front of all of it, or the filter dropped it."""
MOST, LONGEST = 5, 30  # segments in a result's repr, and letters per name
NOTEBOOK = 1280  # pixels of an overlay's longer side in a notebook


@dataclass(frozen=True)
class NameScore:
    """A candidate name of a segment with its score.

    Attributes:
        label: index into the map's vocabulary.
        id: the concept's id; two concepts may share a name, like WordNet senses, but not an id.
        name: the concept's first name.
        score: probability in 0..1 among all names and no-object; in a path, among the siblings of a level.
        synonyms: the concept's other names.
        cosine: with the embedding of the segment that the recognizer compares names with, in -1..1, of the synonym that
            fits best; ``None`` if it was not computed.
    """

    label: int
    id: int
    name: str
    score: float
    synonyms: tuple[str, ...] = ()
    cosine: float | None = None


@dataclass(frozen=True)
class NamedSegment(Segment):
    """A segment with its class name.

    Attributes:
        name: name of its label in the map's vocabulary.
        box: left, top, width and height in pixels.
        top: the best names, best first; the first is ``name`` unless the segment is unknown or was labelled by a tree.
        path: from the coarsest level to ``name``, if the names form a tree.
        source_ids: ids of the given masks of which it consists; empty if the network found it.
    """

    name: str = ""
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    top: tuple[NameScore, ...] = ()
    path: tuple[NameScore, ...] = ()
    source_ids: tuple[MaskId, ...] = ()


@dataclass(frozen=True)
class DroppedMask:
    """A given mask that is in no segment.

    Attributes:
        source_id: its id.
        reason: one of :data:`REASONS`.
    """

    source_id: MaskId
    reason: str


@dataclass(frozen=True, repr=False)
class PanopticResult(PanopticMap):
    """The panoptic map (H, W) of one image with class names, and its conversion to the formats of other tools.

    Methods list the segments in the order of :attr:`segments`.

    Attributes:
        ids: (H, W) int64 segment ids, 0 = void.
        segments: segments with names, scores and boxes.
        vocabulary: the vocabulary that labels index; if unknown segments were requested, its last concept is "unknown".
        image: the image (H, W, 3) uint8 RGB; ``None`` if the result was not made from one.
        file_name: the image's name, "image.png" for an image without a file.
        task: "panoptic"; "semantic": one segment per class; "instance": only things.
        warnings: what a user should know before trusting the map, see :mod:`opsnet.prediction.cautions`.
        hidden: proposals that passed the filter and have no pixel, because others are in front.
        dropped: given masks that are in no segment, see :meth:`opsnet.Predictor.label`.
    """

    segments: tuple[NamedSegment, ...]
    vocabulary: Vocabulary
    image: NDArray[np.uint8] | None = field(default=None, compare=False)
    file_name: str = "image.png"
    task: str = "panoptic"
    warnings: tuple[UserWarning, ...] = ()
    hidden: tuple[int, ...] = field(default=(), compare=False)
    dropped: tuple[DroppedMask, ...] = ()

    def __repr__(self) -> str:
        largest = sorted(self.segments, key=lambda s: -s.area)
        shown = [f"{s.name[:LONGEST]} {s.score:.2f}" for s in largest[:MOST]] + ["..."] * (len(largest) > MOST)
        count = f"{len(largest)} segment{'' if len(largest) == 1 else 's'}"
        listed = f": {', '.join(shown)}" if shown else ""
        height, width = self.ids.shape
        return f"PanopticResult({width} x {height} (width x height), {count}{listed})"

    def _repr_png_(self) -> bytes | None:
        """The overlay, for notebooks."""
        if self.image is None:
            return None
        overlay, file = self.plot(), io.BytesIO()
        overlay.thumbnail((NOTEBOOK, NOTEBOOK))
        overlay.save(file, "PNG")
        return file.getvalue()

    @property
    def masks(self) -> Tensor:
        """(n, H, W) bool, a mask per segment; they do not overlap."""
        ids = torch.tensor([s.id for s in self.segments], dtype=self.ids.dtype, device=self.ids.device)
        return self.ids == ids[:, None, None]

    @property
    def boxes(self) -> Tensor:
        """(n, 4) int64: left, top, right and bottom of each segment in pixels; right and bottom are exclusive.

        So right - left is the width in pixels, as in COCO, whose boxes are left, top, width and height.
        """
        boxes = torch.tensor([s.box for s in self.segments], dtype=torch.int64).reshape(-1, 4)
        return torch.cat((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), dim=1).to(self.ids.device)

    def plot(self, image: ImageLike = None, *, scale: int | None = None) -> Image.Image:
        """The overlay: the image with the segments' colours, outlines and names. A class has one colour in all images.

        Args:
            image: drawn instead of :attr:`image`; any form of one image.
            scale: integer enlargement factor; ``None``: small images to about 480 pixels, larger ones not at all.

        Returns:
            A PIL image, which notebooks show; ``.show()`` opens it and ``.save("overlay.png")`` writes it.

        Raises:
            InputError: there is no image, or its size is not that of the map.
        """
        from PIL import Image

        from opsnet.visualization.overlays import draw_overlay

        return Image.fromarray(draw_overlay(self.pixels(image), self, self.vocabulary.names, scale))

    def pixels(self, image: ImageLike = None) -> NDArray[np.uint8]:
        """``image`` or else :attr:`image` as (H, W, 3) uint8 RGB.

        Raises:
            InputError: see :meth:`plot`.
        """
        if image is None and self.image is None:
            raise InputError("this result has no image: give it as `image`")
        pixels = self.image if image is None else to_pixels(image)
        assert pixels is not None
        if pixels.shape[:2] != tuple(self.ids.shape):
            (h, w), (height, width) = pixels.shape[:2], self.ids.shape
            raise InputError(
                f"the image is {w} x {h} and the map {width} x {height} (width x height): give its own image"
            )
        return pixels

    def save(self, folder: str | Path, image: ImageLike = None) -> Path:
        """Writes the files that ``opsnet-predict`` writes, see :class:`PredictionWriter`: overlay, PNG, json and csv.

        Args:
            folder: created if it does not exist; for several images see
                :func:`opsnet.prediction.saving.save_results`.
            image: the image, if the result has none.

        Returns:
            The folder.

        Raises:
            InputError: there is no image, the folder is a file, or it holds the results of other images.
        """
        from opsnet.prediction.saving import save_result

        return save_result(self, folder, self.pixels(image))

    def to_coco(self, image_id: int = 0, first_id: int = 1) -> dict[str, Any]:
        """A COCO dataset of one image: ``images``, ``annotations`` and ``categories``, which json can hold.

        Annotations are the segments, things and stuff, with ``segmentation`` (compressed RLE, as pycocotools reads it),
        ``bbox`` (left, top, width, height), ``area``, ``score`` and the vocabulary's ``category_id``. The list is also
        one of COCO's results, for ``COCO.loadRes``.

        Args:
            image_id: the image's id.
            first_id: id of the first annotation, to be unique among several images.
        """
        return formats.coco_dataset(self, image_id, first_id)

    def to_coco_panoptic(self, image_id: int = 0) -> tuple[dict[str, Any], Image.Image]:
        """COCO's panoptic format: an entry of ``annotations`` with its ``segments_info``, and the PNG of segment ids.

        The PNG is a PIL image, id = R + 256 G + 65536 B; save it under the entry's ``file_name``.
        """
        return formats.coco_panoptic(self, image_id)

    def to_pandas(self) -> pandas.DataFrame:
        """A row per segment, with the columns of ``segments.csv``: names, scores, area and box."""
        return formats.data_frame(self)

    def to_geojson(self) -> dict[str, Any]:
        """A ``FeatureCollection`` with a feature per segment, a Polygon or MultiPolygon with holes.

        Coordinates are [x, y] in pixels from the image's top left corner, y downwards; outlines follow the borders of
        pixels exactly. ``properties`` has name, category_id, isthing, score, predicted_iou and area.
        """
        return formats.geojson(self)

    def to_supervision(self) -> supervision.Detections:
        """Detections with masks, boxes (exclusive, see :attr:`boxes`), confidence, class_id and ``data``.

        ``class_id`` indexes ``vocabulary.names``; ``data`` has ``class_name`` and ``is_thing``, and ``source_ids``
        if the segments consist of given masks.

        Raises:
            InputError: supervision is not installed.
        """
        return formats.supervision_detections(self)
