"""A result in the formats of other tools: COCO, tables, GeoJSON and supervision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opsnet.data.coco_panoptic_writing import image_record, segment_record
from opsnet.data.panoptic_png import ids_to_rgb
from opsnet.data.panoptic_records import ImageFile, ImageId, SegmentInfo
from opsnet.prediction.polygons import mask_polygons
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary

if TYPE_CHECKING:
    from PIL import Image

    from opsnet.prediction.carriers import MaskId, NamedSegment, NameScore, PanopticResult

COLUMNS = (
    "file", "id", "category_id", "name", "kind", "score", "predicted_iou", "area", "left", "top", "width", "height",
    "names", "cosines", "path",
)  # fmt: skip
MASK_COLUMN = "source_ids"
"""A further column if masks were given."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


# --- COCO -------------------------------------------------------------------------------------------------------------


def rle(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask (H, W) as COCO's compressed RLE, ``{"size": [H, W], "counts": str}``, which json can hold."""
    from pycocotools import mask as coco_masks

    encoded = coco_masks.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode()}


def coco_instances(result: PanopticResult, image_id: ImageId = 0) -> list[dict[str, Any]]:
    """The segments as COCO's results: image_id, category_id, score, bbox and the mask's RLE."""
    ids = result.ids.cpu().numpy()
    return [
        {
            "image_id": image_id, "category_id": result.vocabulary.ids[s.label], "score": round(s.score, 4),
            "bbox": list(s.box), "segmentation": rle(ids == s.id), **_sources(s),
        }
        for s in result.segments
    ]  # fmt: skip


def coco_dataset(result: PanopticResult, image_id: int = 0, first_id: int = 1) -> dict[str, Any]:
    """The segments, things and stuff, as a COCO dataset; see :meth:`PanopticResult.to_coco`."""
    segments = zip(result.segments, coco_instances(result, image_id), strict=True)
    annotations = [
        {"id": number, **record, "area": s.area, "iscrowd": 0} for number, (s, record) in enumerate(segments, first_id)
    ]
    image = image_record(ImageFile(image_id, result.file_name), *result.ids.shape)
    return {"images": [image], "annotations": annotations, "categories": result.vocabulary.categories()}


def coco_panoptic(result: PanopticResult, image_id: int = 0) -> tuple[dict[str, Any], Image.Image]:
    """An entry of COCO's panoptic ``annotations`` and its PNG; see :meth:`PanopticResult.to_coco_panoptic`."""
    from PIL import Image

    segments = [panoptic_segment(s, result.vocabulary) for s in result.segments]
    name = f"{Path(result.file_name).stem}.png"
    record = {"image_id": image_id, "file_name": name, "segments_info": segments, **dropped_masks(result)}
    return record, Image.fromarray(ids_to_rgb(result.ids.cpu().numpy()))


def panoptic_segment(segment: NamedSegment, vocabulary: Vocabulary) -> dict[str, Any]:
    """A segment as an entry of COCO's ``segments_info``, with its scores."""
    names = {"names": [[n.name, round(n.score, 4)] for n in segment.top]} if len(segment.top) > 1 else {}
    path = {"path": [[n.name, round(n.score, 4)] for n in segment.path]} if segment.path else {}
    info = SegmentInfo(segment.id, vocabulary.ids[segment.label], area=segment.area)
    return {
        **segment_record(info, segment.box), "isthing": int(segment.is_thing), "score": round(segment.score, 4),
        "predicted_iou": round(segment.iou, 4), **names, **path, **_sources(segment),
    }  # fmt: skip


def dropped_masks(result: PanopticResult) -> dict[str, Any]:
    """The given masks that are in no segment, as a field of the image's entry in ``annotations``, if there are any."""
    dropped = [{"source_id": mask.source_id, "reason": mask.reason} for mask in result.dropped]
    return {"dropped_masks": dropped} if dropped else {}


def _sources(segment: NamedSegment) -> dict[str, list[MaskId]]:
    """The ids of the given masks of which a segment consists, if masks were given."""
    return {"source_ids": list(segment.source_ids)} if segment.source_ids else {}


# --- tables -----------------------------------------------------------------------------------------------------------


def row_of(file: str, segment: NamedSegment, vocabulary: Vocabulary) -> dict[str, Any]:
    """A segment as a row of :data:`COLUMNS`, and :data:`MASK_COLUMN` if masks were given.

    Scores are not calibrated (docs/scores.md).
    """
    left, top, width, height = segment.box
    return {
        "file": file, "id": segment.id, "category_id": vocabulary.ids[segment.label], "name": segment.name,
        "kind": "thing" if segment.is_thing else "stuff", "score": segment.score, "predicted_iou": segment.iou,
        "area": segment.area, "left": left, "top": top, "width": width, "height": height,
        "names": _listed(segment.top, "; "), "cosines": _cosines(segment.top), "path": _listed(segment.path, " > "),
        **({MASK_COLUMN: " ".join(map(str, segment.source_ids))} if segment.source_ids else {}),
    }  # fmt: skip


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns of a table with these rows."""
    return [*COLUMNS, *([MASK_COLUMN] if any(MASK_COLUMN in row for row in rows) else [])]


def safe_cell(cell: Any) -> Any:
    """Text that a spreadsheet would take for a formula gets an apostrophe, with which spreadsheets mark text."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _listed(names: Sequence[NameScore], between: str) -> str:
    return between.join(f"{shown_name(n)} {n.score:.3f}" for n in names)


def _cosines(names: Sequence[NameScore]) -> str:
    return "; ".join("" if n.cosine is None else f"{n.cosine:.3f}" for n in names)


def shown_name(name: NameScore) -> str:
    """A name with its synonyms: "gown, robe"."""
    return ", ".join((name.name, *name.synonyms))


def data_frame(result: PanopticResult) -> Any:
    """A ``pandas.DataFrame`` with a row per segment and the columns of ``segments.csv``, scores not rounded."""
    import pandas

    rows = [row_of(result.file_name, s, result.vocabulary) for s in result.segments]
    return pandas.DataFrame(rows, columns=columns_of(rows))


# --- polygons and supervision -----------------------------------------------------------------------------------------


def geojson(result: PanopticResult) -> dict[str, Any]:
    """A ``FeatureCollection`` with a feature per segment; see :meth:`PanopticResult.to_geojson`."""
    ids = result.ids.cpu().numpy()
    features = []
    for s in result.segments:
        left, top, width, height = s.box
        polygons = mask_polygons(ids[top : top + height, left : left + width] == s.id)
        moved = [[[[x + left, y + top] for x, y in ring] for ring in polygon] for polygon in polygons]
        is_one = len(moved) == 1
        properties = {
            "name": s.name, "category_id": result.vocabulary.ids[s.label], "isthing": int(s.is_thing),
            "score": round(s.score, 4), "predicted_iou": round(s.iou, 4), "area": s.area, **_sources(s),
        }  # fmt: skip
        geometry = {
            "type": "Polygon" if is_one else "MultiPolygon", "coordinates": moved[0] if is_one else moved,
        }  # fmt: skip
        features.append({"type": "Feature", "id": s.id, "geometry": geometry, "properties": properties})
    return {"type": "FeatureCollection", "features": features}


def supervision_detections(result: PanopticResult) -> Any:
    """A ``supervision.Detections``; see :meth:`PanopticResult.to_supervision`.

    Raises:
        InputError: supervision is not installed.
    """
    try:
        from supervision import Detections
    except ImportError as error:
        raise InputError("to_supervision() needs supervision: pip install '.[supervision]' in the clone") from error
    segments = result.segments
    return Detections(
        xyxy=result.boxes.cpu().numpy().astype(np.float32),
        mask=result.masks.cpu().numpy(),
        confidence=np.array([s.score for s in segments], dtype=np.float32),
        class_id=np.array([s.label for s in segments], dtype=np.int64),
        data={
            "class_name": np.array([s.name for s in segments], dtype=str),
            "is_thing": np.array([s.is_thing for s in segments], dtype=bool),
            **({"source_ids": [list(s.source_ids) for s in segments]} if any(s.source_ids for s in segments) else {}),
        },
    )
